"""Keys in their life: recorded, activated with overlap, retired, revoked. The registry is the truth of every key's state.

The private halves that the hub keeps (its own, and those of organisations without a system) stand in a folder beside the
database. A change of state is recorded in the registry first, where it takes effect at once on every node, then in the folder's
manifest; a change that was interrupted in between is completed by giving the command again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from hub.crypto.jwks import thumbprint
from hub.crypto.key_files import KeyAlgorithm
from hub.crypto.key_manifest import HeldKey, HeldKeyUse, create_key, read_manifest, with_state, write_manifest
from hub.crypto.sealing import check_sealing_jwk
from hub.crypto.signatures import check_public_jwk
from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.encoding import b64url_encode
from hub.domain.keys import Custody, KeyRecord, KeyState, KeyUse
from hub.domain.parties import HUB_PARTY, SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.registry import Registry
from hub.domain.signatures import SignatureType
from hub.formats.parties import key_document
from hub.formats.registrations import read_registration
from hub.services.change_registry import OPERATOR, change_registry
from hub.services.hub import Hub, codes
from hub.storage import registry as rows
from hub.storage.store import Work

HUB_SIGNS = frozenset({SignatureType.COUNTERSIGNATURE, SignatureType.RENDITION, SignatureType.RECEIPT, SignatureType.PROBLEM})
PARTY_SIGNS = frozenset({SignatureType.MESSAGE, SignatureType.RECEIPT, SignatureType.AGREEMENT})
_HUB_ALONE = HUB_SIGNS - {SignatureType.RECEIPT}
DEFAULT_VALIDITY = timedelta(days=730)
_INVALID = RefusalCode.INVALID_KEY
_REPLACED = frozenset({HeldKeyUse.SIGNING, HeldKeyUse.SEALING, HeldKeyUse.TOKENS, HeldKeyUse.STORAGE})
_BEFORE: dict[KeyState, frozenset[KeyState]] = {
    KeyState.NEXT: frozenset(),
    KeyState.ACTIVE: frozenset({KeyState.NEXT}),
    KeyState.RETIRING: frozenset({KeyState.ACTIVE}),
    KeyState.REVOKED: frozenset({KeyState.NEXT, KeyState.ACTIVE, KeyState.RETIRING}),
}
"""From which states a key may come into each."""


@dataclass(frozen=True)
class KeyFolder:
    """The folder of the private keys that the hub keeps, and what opens them."""

    path: Path
    passphrase: bytes = field(repr=False)

    def lines(self) -> tuple[HeldKey, ...]:
        """The manifest."""
        return read_manifest(self.path)

    def add(self, line: HeldKey) -> None:
        """Add a line to the manifest."""
        write_manifest(self.path, [*self.lines(), line])

    def set_states(self, states: dict[str, KeyState]) -> None:
        """Bring the lines with these key ids into these states, as far as they are kept here."""
        lines = before = self.lines()
        for line in before:
            if states.get(line.kid, line.state) is not line.state:
                lines = with_state(lines, line.kid, states[line.kid])
        if lines != before:
            write_manifest(self.path, lines)


@dataclass(frozen=True)
class KeyLine:
    """One key for a person to read: from the registry, or, where it has no public half there, from the hub's own folder."""

    kid: str
    owner: str
    use: str
    kind: str
    state: KeyState
    not_before: datetime
    not_after: datetime
    custody: Custody
    role: str = ""
    signs: tuple[str, ...] = ()


def list_keys(hub: Hub, folder: KeyFolder, owner: str | None = None) -> list[KeyLine]:
    """Every key of one owner, or of all, revoked ones too; by owner, use and age."""
    with hub.store.reading() as work:
        lines = _all_lines(hub.registry.at(work), folder)
    return sorted(
        (line for line in lines if owner in (None, line.owner)),
        key=lambda line: (line.owner, line.use, line.not_before, line.kid),
    )


def import_registration(hub: Hub, owner: str, octets: bytes) -> list[KeyRecord]:
    """Record the public keys that a partner handed over; say in which state each now stands.

    The first key for a purpose becomes active, each later one NEXT: published, and used once it is activated.

    Raises:
        Refusal: INVALID_KEY, INVALID_PARTY where the owner is not registered, or is not the one that the file names.
    """
    named, keys = read_registration(octets)
    if named != owner or owner == HUB_PARTY:
        raise Refusal(RefusalCode.INVALID_PARTY, "the registration is another authority's")
    now = hub.clock.now()
    return change_registry(hub, lambda registry, work: record_keys(hub, registry, work, keys, now))


def record_keys(hub: Hub, registry: Registry, work: Work, keys: Iterable[KeyRecord], now: datetime) -> list[KeyRecord]:
    """Record public keys in a transaction that is open: each as it then stands. One that is known already stays as it is.

    Raises:
        Refusal: INVALID_KEY, INVALID_PARTY.
    """
    recorded: list[KeyRecord] = []
    for key in keys:
        known = registry.keys.get(key.kid)
        if known is not None and replace(key, state=known.state) != known:
            raise Refusal(_INVALID, "this key id is registered with other content")
        if known is None:
            _check_key(registry, key, now)
            rivals = [_registry_line(one) for one in (*registry.keys.values(), *recorded)]
            key = replace(key, state=_entering_state(rivals, _registry_line(key)))  # noqa: PLW2901 - the same key, in its state
            document = key_document(key)
            rows.record_key(work, key.kid, key.owner, document, now)
            hub.note(work, _entry(AuditEvent.KEY_RECORDED, _registry_line(key), now, document))
        recorded.append(known or key)
    return recorded


def make_kept_key(
    hub: Hub,
    folder: KeyFolder,
    owner: str,
    use: HeldKeyUse,
    *,
    profile: SealingProfile | None = None,
    validity: timedelta = DEFAULT_VALIDITY,
) -> KeyLine:
    """Make a key that the hub keeps: its own, or that of an organisation without a system of its own.

    Like a partner's, the first key for a purpose is active and each later one NEXT.

    Args:
        hub: the hub.
        folder: where the private half is kept.
        owner: whose key it is: the hub, or a party whose custody is the hub.
        use: what it is for.
        profile: of a sealing key of the hub itself; another party has its own.
        validity: how long it is good, from now.

    Raises:
        Refusal: INVALID_KEY for a use that is not replaced or not kept; INVALID_PARTY for an owner that keeps its own keys.
    """
    now = hub.clock.now()
    with hub.store.reading() as work:
        registry = hub.registry.at(work)
    algorithm = _algorithm_of(registry, owner, use, profile)
    held_owner = "" if owner == HUB_PARTY else owner
    held = create_key(
        folder.path, use, algorithm, (now, now + validity), folder.passphrase, state=KeyState.NEXT, owner=held_owner
    )
    if use in (HeldKeyUse.TOKENS, HeldKeyUse.STORAGE):
        line = _folder_line(held)
        line = replace(line, state=_entering_state([_folder_line(one) for one in folder.lines()], line))
        hub.note_alone(_entry(AuditEvent.KEY_RECORDED, line, now))
    else:
        public = public_record(held)
        (key,) = change_registry(hub, lambda registry, work: record_keys(hub, registry, work, [public], now))
        line = _registry_line(key)
    folder.add(replace(held, state=line.state))
    return line


def public_record(held: HeldKey) -> KeyRecord:
    """The public half of a key that the hub keeps, as it enters the registry."""
    owner, use = held.owner or HUB_PARTY, KeyUse(held.use.value)
    signs = HUB_SIGNS if owner == HUB_PARTY else PARTY_SIGNS
    return KeyRecord(
        held.kid,
        owner,
        use,
        held.public_jwk,
        held.state,
        held.not_before,
        held.not_after,
        custody=Custody.HUB,
        signs=signs if use is KeyUse.SIGNING else frozenset(),
    )


def change_key_state(hub: Hub, folder: KeyFolder, kid: str, state: KeyState) -> list[KeyLine]:
    """Bring a key into its next state: ACTIVE, RETIRING or REVOKED.

    Activating a key retires the one that served the same purpose: that is still accepted, and no longer used. A revoked key is
    refused from this moment on, for good.

    Returns:
        The keys whose state changed; none where the key was in that state already.

    Raises:
        Refusal: NOT_FOUND; INVALID_KEY for a step that does not exist, and where the hub would be left without a key.
    """
    now = hub.clock.now()
    states: dict[str, KeyState] = {}

    def change(registry: Registry, work: Work) -> list[KeyLine]:
        lines = {line.kid: line for line in _all_lines(registry, folder)}
        changed = [replace(lines[one], state=new) for one, new in _plan(lines, kid, state).items()]
        for line in changed:
            known = registry.keys.get(line.kid)
            document = key_document(replace(known, state=line.state)) if known is not None else b""
            if document:
                rows.record_key(work, line.kid, line.owner, document, now)
            hub.note(work, _entry(AuditEvent.KEY_STATE_CHANGED, line, now, document))
        states.update({key.kid: key.state for key in registry.keys.values()})
        states.update({line.kid: line.state for line in changed})
        return changed

    changed = change_registry(hub, change)
    folder.set_states(states)
    return changed


def _plan(lines: dict[str, KeyLine], kid: str, state: KeyState) -> dict[str, KeyState]:
    line = lines.get(kid)
    if line is None:
        raise Refusal(RefusalCode.NOT_FOUND, "there is no key with this id")
    if line.state is state:
        return {}
    if line.state not in _BEFORE[state]:
        raise Refusal(_INVALID, f"a key that is {line.state} does not become {state}")
    if line.use == HeldKeyUse.STORAGE and state is KeyState.REVOKED:
        raise Refusal(_INVALID, "a storage key is retired, not revoked: what it wrapped could not be read any more")
    if line.owner == HUB_PARTY and line.state is KeyState.ACTIVE:
        raise Refusal(_INVALID, "the hub would be left without this key: make and activate its successor first")
    rivals = [one for one in lines.values() if one.state is KeyState.ACTIVE and _serves_the_same(one, line)]
    retiring = {one.kid: KeyState.RETIRING for one in rivals} if state is KeyState.ACTIVE else {}
    return {kid: state, **retiring}


def _serves_the_same(one: KeyLine, other: KeyLine) -> bool:
    same_place = (one.owner, one.use, one.kind, one.role) == (other.owner, other.use, other.kind, other.role)
    return same_place and (not one.signs or bool(set(one.signs) & set(other.signs)))


def _entering_state(rivals: Iterable[KeyLine], line: KeyLine) -> KeyState:
    taken = any(one.state is KeyState.ACTIVE and _serves_the_same(one, line) for one in rivals)
    return KeyState.NEXT if taken else KeyState.ACTIVE


def _check_key(registry: Registry, key: KeyRecord, now: datetime) -> None:
    party = registry.parties.get(key.owner)
    if party is None and key.owner != HUB_PARTY:
        raise Refusal(RefusalCode.INVALID_PARTY, "the owner of the key is not registered")
    if key.not_after <= now:
        raise Refusal(_INVALID, "the key is past its time already")
    if key.use in (KeyUse.SEALING, KeyUse.ROLE):
        profile = check_sealing_jwk(key.jwk)
        if party is not None and profile is not party.profile:
            raise Refusal(_INVALID, f"the owner is registered for the profile {party.profile}, and this key is for {profile}")
    else:
        check_public_jwk(key.jwk)
    if key.owner != HUB_PARTY and key.signs & _HUB_ALONE:
        raise Refusal(_INVALID, f"only the hub signs {', '.join(sorted(_HUB_ALONE))}")
    if any(thumbprint(one.jwk) == thumbprint(key.jwk) for one in registry.keys.values()):
        raise Refusal(_INVALID, "this key is registered already, under another id")


def _algorithm_of(registry: Registry, owner: str, use: HeldKeyUse, profile: SealingProfile | None) -> KeyAlgorithm:
    if owner == HUB_PARTY:
        if use not in _REPLACED:
            raise Refusal(_INVALID, f"only keys for {', '.join(sorted(_REPLACED))} are replaced: another log key is another log")
    else:
        party = registry.parties.get(owner)
        if party is None or party.custody is not Custody.HUB:
            raise Refusal(RefusalCode.INVALID_PARTY, "the hub keeps no keys for this authority")
        if use not in (HeldKeyUse.SIGNING, HeldKeyUse.SEALING):
            raise Refusal(_INVALID, "for others the hub keeps keys for signing and sealing only")
        profile = party.profile
    if use is HeldKeyUse.SEALING:
        return KeyAlgorithm.ECDH_ES if profile is SealingProfile.CLASSIC_1 else KeyAlgorithm.HPKE_9_KE
    return KeyAlgorithm.A256GCM if use is HeldKeyUse.STORAGE else KeyAlgorithm.ES256


def _all_lines(registry: Registry, folder: KeyFolder) -> list[KeyLine]:
    lines = [_registry_line(key) for key in registry.keys.values()]
    return lines + [_folder_line(line) for line in folder.lines() if line.kid not in registry.keys]


def _registry_line(key: KeyRecord) -> KeyLine:
    return KeyLine(
        key.kid,
        key.owner,
        key.use.value,
        key.jwk["kty"],
        key.state,
        key.not_before,
        key.not_after,
        key.custody,
        key.role,
        tuple(codes(list(key.signs))),
    )


def _folder_line(line: HeldKey) -> KeyLine:
    kind = line.public_jwk.get("kty", "oct")
    owner = line.owner or HUB_PARTY
    return KeyLine(line.kid, owner, line.use.value, kind, line.state, line.not_before, line.not_after, Custody.HUB)


def _entry(event: AuditEvent, line: KeyLine, now: datetime, document: bytes = b"") -> AuditEntry:
    """The entry for a change; `document` is the registry's of the key, to which the log is to be a witness."""
    details = {"kid": line.kid, "owner": line.owner, "use": line.use, "state": line.state.value, "custody": line.custody.value}
    details |= {"document": b64url_encode(hashlib.sha256(document).digest())} if document else {}
    return AuditEntry(event, now, OPERATOR, details=details)
