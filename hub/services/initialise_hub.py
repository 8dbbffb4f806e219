"""A new hub: its folders, its passphrase, its keys, its database; and what partners pin of it, out of band."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from hub.crypto.key_files import write_private_file
from hub.crypto.key_manifest import HUB_KEYS, MANIFEST_NAME, HeldKeyUse, create_key, write_manifest
from hub.domain.encoding import b64url_encode
from hub.domain.keys import KeyRecord, KeyState, KeyUse
from hub.domain.parties import HUB_PARTY
from hub.services.change_registry import change_registry
from hub.services.hub import Hub
from hub.services.manage_keys import DEFAULT_VALIDITY, KeyFolder, public_record, record_keys

PASSPHRASE_OCTETS = 32
_LONG_LIVED = frozenset({HeldKeyUse.LOG, HeldKeyUse.LOG_COSIGNATURE, HeldKeyUse.STORAGE})
_LONG_VALIDITY = timedelta(days=3650)


@dataclass(frozen=True)
class HubIdentity:
    """What a partner pins: it must reach the partner by another way than the hub's own answers.

    `log_keys` are verifier keys in the form of C2SP signed notes, the log's own first, then its cosigner's. `keys` are the hub's
    public keys that are not revoked; their ids are RFC 7638 thumbprints, which can be read out on the telephone.
    """

    name: str
    issuer: str
    log_keys: tuple[str, ...]
    keys: tuple[KeyRecord, ...]


def make_passphrase(file: Path) -> bool:
    """Write a random passphrase, 256 bits, where there is no passphrase file yet; says whether it did."""
    if file.exists():
        return False
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private_file(file, b64url_encode(secrets.token_bytes(PASSPHRASE_OCTETS)).encode("ascii") + b"\n")
    return True


def make_hub_keys(folder: KeyFolder, now: datetime) -> bool:
    """Make the hub's own keys where the folder has no manifest yet; says whether it did. What exists is never replaced."""
    if (folder.path / MANIFEST_NAME).exists():
        return False
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = [
        create_key(
            folder.path,
            use,
            algorithm,
            (now, now + (_LONG_VALIDITY if use in _LONG_LIVED else DEFAULT_VALIDITY)),
            folder.passphrase,
        )
        for use, algorithm in HUB_KEYS
    ]
    write_manifest(folder.path, keys)
    return True


def register_hub_keys(hub: Hub) -> None:
    """Record the public halves of the hub's own keys in the registry, as far as they are not there.

    Raises:
        Refusal: INVALID_KEY where one contradicts the registry.
    """
    now = hub.clock.now()
    published = {use.value for use in KeyUse}
    own = [line for line in hub.keyring.lines if not line.owner and line.use.value in published and line.state is KeyState.ACTIVE]
    with hub.store.reading() as work:
        known = hub.registry.at(work).keys
    missing = [public_record(line) for line in own if line.kid not in known]
    if missing:
        change_registry(hub, lambda registry, work: record_keys(hub, registry, work, missing, now))


def identify_hub(hub: Hub) -> HubIdentity:
    """What partners pin of this hub."""
    now = hub.clock.now()
    log_keys = (hub.keyring.log_signer(hub.name, now).key.vkey, hub.keyring.log_cosigner(hub.name, now).key.vkey)
    with hub.store.reading() as work:
        known = hub.registry.at(work).keys.values()
    keys = [key for key in known if key.owner == HUB_PARTY and key.state is not KeyState.REVOKED]
    return HubIdentity(hub.name, hub.issuer, log_keys, tuple(sorted(keys, key=lambda key: (key.use, key.kid))))
