"""Parties enter the registry as documents; their standing is changed here, and by nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from hub.crypto.sealing import check_sealing_jwk
from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.encoding import b64url_encode
from hub.domain.keys import KeyRecord, KeyState, KeyUse
from hub.domain.parties import HUB_PARTY, DeliveryMode, Party, Standing
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.registry import Registry
from hub.formats.parties import party_document, read_party
from hub.policy.push_addresses import is_allowed_address
from hub.services.change_registry import OPERATOR, change_registry
from hub.services.hub import Hub
from hub.services.manage_keys import record_keys
from hub.storage import registry as rows
from hub.storage.store import Work


@dataclass(frozen=True)
class RecordedParty:
    """A party and its keys as they now stand; `changed` where the party's own entry is new or another than before."""

    party: Party
    keys: tuple[KeyRecord, ...]
    changed: bool


def record_party(hub: Hub, toml_octets: bytes) -> RecordedParty:
    """Record a party, and the public keys in its document, if any.

    For a party that is known the standing in the document is passed over: importing a file neither suspends nor reinstates.

    Raises:
        Refusal: INVALID_PARTY, INVALID_KEY, ADDRESS_NOT_ALLOWED.
    """
    read, keys = read_party(toml_octets)
    now = hub.clock.now()
    if read.authority == HUB_PARTY:
        raise Refusal(RefusalCode.INVALID_PARTY, "party.authority: the hub is not a party of its own")
    if read.delivery is DeliveryMode.PUSH and not is_allowed_address(read.push_address, hub.limits.push_allowed_hosts):
        raise Refusal(RefusalCode.ADDRESS_NOT_ALLOWED)

    def change(registry: Registry, work: Work) -> RecordedParty:
        known = registry.parties.get(read.authority)
        party = replace(read, standing=known.standing) if known else read
        _check_profile(party, registry.keys_of(party.authority, KeyUse.SEALING))
        changed = _record(hub, work, party, now)
        standing = Registry(registry.version, {**registry.parties, party.authority: party}, registry.keys, registry.agreements)
        recorded = record_keys(hub, standing, work, keys, now)
        return RecordedParty(party, tuple(recorded), changed)

    return change_registry(hub, change)


def change_standing(hub: Hub, authority: str, standing: Standing) -> bool:
    """Suspend or reinstate a party, on every node from this moment; says whether that changed anything.

    Raises:
        Refusal: NOT_FOUND.
    """
    now = hub.clock.now()

    def change(registry: Registry, work: Work) -> bool:
        party = registry.parties.get(authority)
        if party is None:
            raise Refusal(RefusalCode.NOT_FOUND, "there is no such party")
        return _record(hub, work, replace(party, standing=standing), now)

    return change_registry(hub, change)


def _check_profile(party: Party, sealing_keys: Iterable[KeyRecord]) -> None:
    living = [key for key in sealing_keys if key.state is not KeyState.REVOKED]
    if any(check_sealing_jwk(key.jwk) is not party.profile for key in living):
        raise Refusal(
            RefusalCode.INVALID_PARTY, "party.profile: the party has sealing keys for another profile; revoke them first"
        )


def _record(hub: Hub, work: Work, party: Party, now: datetime) -> bool:
    document = party_document(party)
    changed = rows.record_party(work, party.authority, document, now)
    if changed:
        details = {"party": party.authority, "standing": party.standing.value, "profile": party.profile.value}
        details["document"] = b64url_encode(hashlib.sha256(document).digest())
        hub.note(work, AuditEntry(AuditEvent.PARTY_RECORDED, now, OPERATOR, details=details))
    return changed
