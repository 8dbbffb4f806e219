"""A draft becomes a message: header completed, parts sealed to role keys, checked against the catalogue, signed, sealed."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from connectors.contract import SEAL_TO, Draft, Prepared
from connectors.hub_client.agency_files import file_name, read_json, write_json
from hub.crypto.jwks import Jwk
from hub.crypto.sealing import check_sealing_jwk, seal, seal_part
from hub.crypto.signatures import SigningKey
from hub.domain.encoding import b64url_encode, format_time, new_uuid7
from hub.domain.keys import KeyRecord
from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.sealing import SealedContentType
from hub.domain.signatures import SignatureType
from hub.formats import jwe, jws
from hub.formats.bodies import BodyReader
from hub.formats.canonical_json import canonical_json

DEFAULT_LIFETIME = timedelta(days=14)
"""How long a message is good for where its draft does not say."""

SALT_OCTETS = 16
_SEAL_MEMBERS = {SEAL_TO, "value", "authority"}

FindRoleKey = Callable[[str, str], KeyRecord]
"""(recipient, role) to the recipient's role key; Refusal RECIPIENT_NOT_REACHABLE where there is none."""


@dataclass(frozen=True)
class Sender:
    """Who sends, and to which key of the hub under which profile."""

    authority: str
    signing_key: SigningKey
    profile: SealingProfile
    hub_key: KeyRecord


def prepare(draft: Draft, sender: Sender, bodies: BodyReader, find_role_key: FindRoleKey, now: datetime) -> Prepared:
    """Make the message of a draft. Each call makes another: who repeats, repeats what was written down.

    Raises:
        Refusal: SCHEMA_VIOLATION, UNKNOWN_TYPE, SENDER_MISMATCH, RECIPIENT_NOT_REACHABLE (no role key for a sealed part).
    """
    header = complete_header(draft, sender.authority, now)
    body = _seal_parts(draft.body, "", _Binding(str(header["id"]), list(header.get("recipients", [])), find_role_key))
    read = bodies.read_header(header)
    bodies.read_body(read, body)
    payload = canonical_json({"header": header, "body": body})
    return Prepared(
        draft=draft.digest(),
        id=read.id,
        sender=read.sender,
        type=read.type,
        recipients=read.recipients,
        digest=b64url_encode(hashlib.sha256(payload).digest()),
        envelope=_seal_to_hub(_sign(payload, sender.signing_key), read.id, sender),
    )


def complete_header(draft: Draft, authority: str, now: datetime) -> dict[str, Any]:
    """Fill in what the client knows better than its user; what the draft gives stays.

    Raises:
        Refusal: SENDER_MISMATCH, the draft names another sender.
    """
    given = dict(draft.header)
    if given.get("sender", authority) != authority:
        raise Refusal(RefusalCode.SENDER_MISMATCH, "the draft names another sender than this agency")
    header: dict[str, Any] = {
        "v": 1,
        "id": new_uuid7(now),
        "sender": authority,
        "issued": format_time(now),
        "expires": format_time(now + DEFAULT_LIFETIME),
        "salt": b64url_encode(secrets.token_bytes(SALT_OCTETS)),
        **given,
    }
    if draft.attachments:
        header["attachments"] = [
            {
                "name": one.name,
                "media_type": one.media_type,
                "category": one.category,
                "sha256": b64url_encode(hashlib.sha256(one.octets).digest()),
                "size": len(one.octets),
                "content": base64.b64encode(one.octets).decode("ascii"),
            }
            for one in draft.attachments
        ]
    return header


@dataclass(frozen=True)
class _Binding:
    """What every sealed part of one message is bound to, and how its key is found."""

    message_id: str
    recipients: list[Any]
    find_role_key: FindRoleKey


def _seal_parts(value: Any, path: str, binding: _Binding) -> Any:
    """Copy a body with each marked value sealed to the role key that it names."""
    if isinstance(value, Mapping):
        if SEAL_TO in value:
            return _seal_value(value, path, binding)
        return {name: _seal_parts(one, f"{path}/{name}", binding) for name, one in value.items()}
    if isinstance(value, list):
        return [_seal_parts(one, f"{path}/{at}", binding) for at, one in enumerate(value)]
    return value


def _seal_value(marked: Mapping[str, Any], path: str, binding: _Binding) -> str:
    if not marked.keys() <= _SEAL_MEMBERS or "value" not in marked:
        raise Refusal(
            RefusalCode.SCHEMA_VIOLATION, f"/body{path}: a value to be sealed has {SEAL_TO}, value and perhaps authority"
        )
    authority = marked.get("authority")
    if authority is None and len(binding.recipients) == 1:
        authority = binding.recipients[0]
    if authority not in binding.recipients:
        raise Refusal(RefusalCode.SCHEMA_VIOLATION, f"/body{path}: say with authority for which of the recipients it is sealed")
    key = binding.find_role_key(str(authority), str(marked[SEAL_TO]))
    return seal_value(canonical_json(marked["value"]), (key.kid, key.jwk), binding.message_id, path)


def seal_value(plaintext: bytes, recipient: tuple[str, Jwk], message_id: str, path: str) -> str:
    """Seal one part to a role key as a compact JWE bound to the message id and the field's path."""
    profile = check_sealing_jwk(recipient[1])
    protected, sealed = seal_part(
        profile, plaintext, recipient, lambda wrapped: jwe.part_header(profile, message_id, path, wrapped)
    )
    return jwe.serialise_part(protected, sealed.recipients[0], sealed.content)


def _sign(payload: bytes, key: SigningKey) -> bytes:
    protected, text = jws.protected_header(key.kid, SignatureType.MESSAGE), b64url_encode(payload)
    return jws.serialise_general(text, [(protected, key.sign(jws.signing_input(protected, text)))])


def _seal_to_hub(signed: bytes, message_id: str, sender: Sender) -> bytes:
    key = sender.hub_key
    protected = jwe.envelope_header(sender.profile, SealedContentType.JWS, message_id, [key.kid])
    sealed = seal(sender.profile, signed, protected.encode("ascii"), [(key.kid, key.jwk)])
    return jwe.serialise_envelope(sender.profile, protected, sealed.recipients, sealed.content)


class PreparedMessages:
    """What was prepared, one file a draft: written before it is sent, completed when the hub has accepted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, draft_digest: str) -> Prepared | None:
        """What was prepared of a draft."""
        members = read_json(self._path(draft_digest))
        if not members:
            return None
        return Prepared(
            draft=draft_digest,
            id=members["id"],
            sender=members["sender"],
            type=members["type"],
            recipients=tuple(members["recipients"]),
            digest=members["digest"],
            envelope=members["envelope"].encode("ascii"),
            exchange=members["exchange"],
            receipt=members["receipt"],
        )

    def of_exchange(self, exchange: str) -> Prepared | None:
        """What was sent as an exchange."""
        found = (self.find(path.stem) for path in sorted(self._folder.glob("*.json")))
        return next((one for one in found if one is not None and one.exchange == exchange), None)

    def save(self, prepared: Prepared) -> None:
        """Write it down."""
        members = {name: value for name, value in vars(prepared).items() if name not in ("draft", "envelope")}
        write_json(self._path(prepared.draft), {"v": 1, **members, "envelope": prepared.envelope.decode("ascii")})

    def accepted(self, prepared: Prepared, exchange: str, receipt: str) -> Prepared:
        """Write down that the hub accepted it, with its receipt."""
        done = replace(prepared, exchange=exchange, receipt=receipt)
        self.save(done)
        return done

    def _path(self, draft_digest: str) -> Path:
        return self._folder / f"{file_name(draft_digest)}.json"
