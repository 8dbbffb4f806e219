"""What tests of the operator's services ask: keys and parties to record, and what the registry and the audit queue then hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hub.crypto.jwks import thumbprint
from hub.crypto.key_files import KeyAlgorithm, PrivateKey, generate
from hub.domain.keys import KeyRecord, KeyState, KeyUse
from hub.domain.registry import Registry
from hub.domain.signatures import SignatureType
from hub.formats.registrations import write_registration
from hub.services.hub import Hub
from hub.services.record_party import record_party
from hub.storage import audit

CONFIG = Path(__file__).parents[2] / "config"
START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=3650)
PARTY_SIGNS = frozenset({SignatureType.MESSAGE, SignatureType.RECEIPT, SignatureType.AGREEMENT})


def signing_key(owner: str, private: PrivateKey | None = None, signs: frozenset[SignatureType] = PARTY_SIGNS) -> KeyRecord:
    """The public half of a signing key."""
    jwk = (private or generate(KeyAlgorithm.ES256)).public_jwk
    return KeyRecord(thumbprint(jwk), owner, KeyUse.SIGNING, jwk, KeyState.NEXT, START, END, signs=signs)


def sealing_key(owner: str, algorithm: KeyAlgorithm = KeyAlgorithm.HPKE_9_KE) -> KeyRecord:
    """The public half of a sealing key."""
    jwk = generate(algorithm).public_jwk
    return KeyRecord(thumbprint(jwk), owner, KeyUse.SEALING, jwk, KeyState.NEXT, START, END)


def registration(owner: str, *keys: KeyRecord) -> bytes:
    """The file that an agency hands over."""
    return write_registration(owner, keys)


def party_text(authority: str) -> bytes:
    """A configured party."""
    return (CONFIG / "parties" / f"{authority}.toml").read_bytes()


def add_party(hub: Hub, authority: str) -> None:
    """Record a configured party."""
    record_party(hub, party_text(authority))


def registry_of(hub: Hub) -> Registry:
    """The registry as it stands."""
    with hub.store.reading() as work:
        return hub.registry.at(work)


def last_entry(hub: Hub) -> dict[str, Any]:
    """The audit entry that was written last."""
    with hub.store.reading() as work:
        entry: dict[str, Any] = json.loads(audit.pending(work, 1000)[-1].entry)
    return entry
