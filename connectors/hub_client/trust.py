"""Whose keys this agency believes: the hub's, pinned out of band, and the partners', pinned when they are first seen.

The hub's keys come from its operator in person (a file, or the fingerprints of what the hub publishes). The log's verifier key is
never taken from the hub's own answer. A partner's key is asked of the hub's registry; once seen, a key id keeps its key for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from connectors.hub_client.agency_files import read_json, write_json
from hub.crypto.jwks import thumbprint
from hub.crypto.notes import KeyType, NoteKey, parse_vkey
from hub.crypto.sealing import check_sealing_jwk
from hub.crypto.signatures import check_public_jwk
from hub.domain.keys import KeyRecord, KeyState, KeyUse
from hub.domain.parties import HUB_PARTY, SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats.canonical_json import canonical_json
from hub.formats.json_gate import parse_object
from hub.formats.parties import key_document, read_key_document

AskForKeys = Callable[[str], list[KeyRecord]]
_KEY_MEMBERS = ("kid", "owner", "use", "role", "signs", "custody", "state", "not_before", "not_after", "jwk")


def read_published_keys(document: Mapping[str, Any]) -> list[KeyRecord]:
    """Read the `keys` of a /v1/keys answer or of a file of the same form; each key is checked as at registration.

    Raises:
        Refusal: INVALID_KEY.
    """
    entries = document.get("keys")
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise Refusal(RefusalCode.INVALID_KEY, "keys is not a list of keys")
    return [_read_entry(one) for one in entries]


def _read_entry(entry: Mapping[str, Any]) -> KeyRecord:
    known = {name: entry[name] for name in _KEY_MEMBERS if entry.get(name) not in (None, "", [])}
    try:
        key = read_key_document(canonical_json(known))
    except ValueError:
        raise Refusal(RefusalCode.INVALID_KEY, "a key entry holds something that JSON documents may not hold") from None
    if key.use in (KeyUse.SEALING, KeyUse.ROLE):
        check_sealing_jwk(key.jwk)
    else:
        check_public_jwk(key.jwk)
    return key


def _sealing_profile(key: KeyRecord) -> SealingProfile:
    return SealingProfile.CLASSIC_1 if key.jwk["kty"] == "EC" else SealingProfile.PQ_1


class HubKeyNotPinnedError(Refusal):
    """Signed with a hub key that was never pinned: the hub's keys rolled over, or it is not the hub. A person must look."""

    def __init__(self) -> None:
        super().__init__(RefusalCode.UNKNOWN_SENDER, "signed with a hub key that is not pinned here; see `hub-partner pin`")


@dataclass(frozen=True)
class HubPins:
    """The hub as it was pinned. `name` is its origin: the log's name, and what its receipts call it."""

    keys: Mapping[str, KeyRecord]
    log_key: NoteKey
    cosigners: tuple[NoteKey, ...] = ()

    @property
    def name(self) -> str:
        """The hub's origin."""
        return self.log_key.name

    def signing_key(self, kid: str, type_: SignatureType) -> KeyRecord:
        """The pinned key that may have made a hub signature.

        Raises:
            HubKeyNotPinnedError: UNKNOWN_SENDER.
            Refusal: KEY_NOT_VALID, it is not for this kind of signature.
        """
        key = self.keys.get(kid)
        if key is None:
            raise HubKeyNotPinnedError
        if key.use is not KeyUse.SIGNING or type_ not in key.signs or key.state is KeyState.REVOKED:
            raise Refusal(RefusalCode.KEY_NOT_VALID, "the hub's key is not one for this kind of signature")
        return key

    def sealing_key(self, profile: SealingProfile, now: datetime) -> KeyRecord:
        """The hub's newest pinned sealing key of a profile.

        Raises:
            Refusal: RECIPIENT_NOT_REACHABLE, there is none that is valid now.
        """
        usable = [
            key
            for key in self.keys.values()
            if key.use is KeyUse.SEALING and key.is_current(now) and _sealing_profile(key) is profile
        ]
        if not usable:
            raise Refusal(
                RefusalCode.RECIPIENT_NOT_REACHABLE, f"no valid hub key for {profile.value} is pinned; see `hub-partner pin`"
            )
        return max(usable, key=lambda key: (key.not_before, key.kid))

    def save(self, path: Path) -> None:
        """Write the pins."""
        keys = [parse_object(key_document(key)) for key in self.keys.values()]
        vkeys = [self.log_key.vkey, *(one.vkey for one in self.cosigners)]
        write_json(path, {"v": 1, "name": self.name, "log_vkeys": vkeys, "keys": keys})


def load_pins(path: Path) -> HubPins:
    """Read the pins of an enrolled agency.

    Raises:
        Refusal: INVALID_KEY, nothing is pinned or the file was damaged.
    """
    document = read_json(path)
    return make_pins(read_published_keys(document), document.get("log_vkeys", []))


def make_pins(keys: Iterable[KeyRecord], log_vkeys: Iterable[str]) -> HubPins:
    """Pin the hub's keys and its log's verifier keys (one Ed25519, any number of ML-DSA-44 cosigners).

    Raises:
        Refusal: INVALID_KEY.
    """
    own = {key.kid: key for key in keys if key.owner == HUB_PARTY}
    note_keys = [parse_vkey(text) for text in log_vkeys]
    logs = [key for key in note_keys if key.type is KeyType.ED25519]
    if len(logs) != 1:
        raise Refusal(RefusalCode.INVALID_KEY, "exactly one Ed25519 verifier key of the hub's log is pinned")
    if not any(key.use is KeyUse.SIGNING for key in own.values()):
        raise Refusal(RefusalCode.INVALID_KEY, "no signing key of the hub is pinned")
    return HubPins(own, logs[0], tuple(key for key in note_keys if key.type is not KeyType.ED25519))


def select_by_fingerprint(keys: Iterable[KeyRecord], fingerprints: Iterable[str]) -> list[KeyRecord]:
    """Of what the hub publishes, the keys whose RFC 7638 thumbprint was given out of band; the others are not pinned.

    Raises:
        Refusal: INVALID_KEY, a fingerprint that was given is not among them.
    """
    offered = {thumbprint(key.jwk): key for key in keys if key.owner == HUB_PARTY}
    wanted = list(fingerprints)
    if missing := [one for one in wanted if one not in offered]:
        raise Refusal(RefusalCode.INVALID_KEY, f"the hub does not publish a key with the fingerprint {missing[0][:64]}")
    return [offered[one] for one in wanted]


class PartnerKeys:
    """Partners' keys as the registry gives them, pinned at first sight in a file."""

    def __init__(self, path: Path, ask: AskForKeys | None) -> None:
        """`ask` is None offline: then only what was seen before is known."""
        self._path = path
        self._ask = ask
        self._asked: set[str] = set()
        pinned = read_json(path)
        self._keys = {key.kid: key for key in read_published_keys(pinned)} if pinned else {}

    def signing_key(self, kid: str, owner: str, type_: SignatureType) -> KeyRecord:
        """The key with which a partner may have signed.

        Raises:
            Refusal: UNKNOWN_SENDER, the registry has no such key; SENDER_MISMATCH, it belongs to somebody else; KEY_NOT_VALID,
                it is revoked, or not registered for this kind of signature, or not the one that was seen under this id before.
        """
        self.refresh(owner)
        key = self._keys.get(kid)
        if key is None:
            raise Refusal(RefusalCode.UNKNOWN_SENDER, f"the registry has no such key of {owner}")
        if key.owner != owner:
            raise Refusal(RefusalCode.SENDER_MISMATCH, "the signing key belongs to another party")
        if key.use is not KeyUse.SIGNING or type_ not in key.signs or key.state in (KeyState.REVOKED, KeyState.NEXT):
            raise Refusal(RefusalCode.KEY_NOT_VALID, f"the key of {owner} is not one for this kind of signature, or revoked")
        return key

    def role_key(self, owner: str, role: str, now: datetime) -> KeyRecord:
        """The newest key of a role at a recipient, to which a part is sealed.

        Raises:
            Refusal: RECIPIENT_NOT_REACHABLE, there is none that is valid now.
        """
        self.refresh(owner)
        usable = [
            key
            for key in self._keys.values()
            if key.owner == owner and key.use is KeyUse.ROLE and key.role == role and key.is_current(now)
        ]
        if not usable:
            raise Refusal(RefusalCode.RECIPIENT_NOT_REACHABLE, f"{owner} has no valid key for the role {role}")
        return max(usable, key=lambda key: (key.not_before, key.kid))

    def forget_answers(self) -> None:
        """Ask the registry again from now on."""
        self._asked.clear()

    def refresh(self, owner: str) -> None:
        """Ask the registry once, so that a revocation is seen. Of a key id that was seen only the state changes, and never back.

        Raises:
            Refusal: KEY_NOT_VALID, INVALID_KEY.
        """
        if self._ask is None or owner in self._asked:
            return
        answer = self._ask(owner)
        if any(key.owner != owner for key in answer):
            raise Refusal(RefusalCode.INVALID_KEY, "the registry answered with the keys of somebody else")
        for key in answer:
            before = self._keys.get(key.kid, key)
            if replace(key, state=before.state) != before:
                raise Refusal(
                    RefusalCode.KEY_NOT_VALID, f"the registry gives another key of {owner} under a key id that was seen before"
                )
            if before.state is KeyState.REVOKED and key.state is not KeyState.REVOKED:
                raise Refusal(RefusalCode.KEY_NOT_VALID, f"the registry takes the revocation of a key of {owner} back")
        self._keys.update((key.kid, key) for key in answer)
        self._asked.add(owner)
        write_json(self._path, {"v": 1, "keys": [parse_object(key_document(key)) for key in self._keys.values()]})
