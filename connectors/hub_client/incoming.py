"""A sealed copy becomes a message that may be believed.

In this order:

1. it is an envelope of the exact form, under the one profile this agency is registered for
2. it is sealed to one key, a sealing key of this agency, and opens with it
3. it holds the original with the hub's countersignature, or a rendition by the hub alone
4. every signature verifies: the sender's with its registered key, the hub's with a pinned key, tied to the sender's
5. the signed header carries the sealed id, the sender that signed, and this agency among its recipients
6. header and body fit the catalogue; in a rendition only what it lists may be missing
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.contract import Incoming, Removed, Rendition
from connectors.hub_client.trust import HubPins, PartnerKeys
from hub.crypto.key_manifest import HeldKeyUse
from hub.crypto.keyrings import Keyring
from hub.crypto.sealing import UnsealingKey, unseal
from hub.crypto.signatures import verify_es256
from hub.domain.encoding import b64url_encode, parse_time
from hub.domain.keys import Custody
from hub.domain.messages import Header
from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.sealing import SealedContentType
from hub.domain.signatures import SignatureType
from hub.formats import jwe, jws
from hub.formats.bodies import BodyReader
from hub.formats.json_gate import parse_object

MAX_ENVELOPE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class InboxItem:
    """One line of the inbox, as the hub says it; nothing of it is signed."""

    delivery: str
    position: int
    sender: str
    type: str
    exchange: str


@dataclass(frozen=True)
class Recipient:
    """Who opens: the agency, its keys, its one profile."""

    authority: str
    profile: SealingProfile
    keyring: Keyring


@dataclass(frozen=True)
class Verifier:
    """What a signed text is held against: the catalogue, the hub's pins, the partners' keys."""

    bodies: BodyReader
    pins: HubPins
    partners: PartnerKeys


@dataclass(frozen=True)
class OpenedCopy:
    """A signed text that was inside the seal, not verified: the id that the seal carries, and the JWS as it was."""

    message_id: str
    signed: bytes
    jws: jws.GeneralJws

    @property
    def digest(self) -> str:
        """Base64url SHA-256 of the payload: what one's receipt names."""
        return b64url_encode(hashlib.sha256(self.jws.payload).digest())


@dataclass(frozen=True)
class VerifiedCopy:
    """A text whose every signature verified, and what its payload says.

    `custody` is that of the sender's key: an organisation may let the hub keep it. None in a rendition.
    """

    header: Header
    document: Mapping[str, Any]
    rendition: Rendition | None
    custody: Custody | None


def open_copy(octets: bytes, recipient: Recipient, now: datetime) -> OpenedCopy:
    """Steps 1 to 3.

    Raises:
        Refusal: TOO_LARGE, MALFORMED_ENVELOPE, UNSUPPORTED_PROFILE, WRONG_PROFILE, SENDER_MISMATCH (sealed to others too),
            CANNOT_UNSEAL.
    """
    envelope = jwe.open_envelope(octets, MAX_ENVELOPE_BYTES)
    if envelope.profile is not recipient.profile:
        raise Refusal(RefusalCode.WRONG_PROFILE, f"sealed under another profile than {recipient.profile.value}")
    if envelope.content_type is not SealedContentType.JWS:
        raise Refusal(RefusalCode.UNSUPPORTED_PROFILE, "this client reads JSON messages")
    if len(envelope.recipients) != 1:
        raise Refusal(RefusalCode.SENDER_MISMATCH, "a copy is sealed to its one recipient")
    key = _own_key(envelope.to[0], recipient, HeldKeyUse.SEALING, now)
    signed = unseal(key, envelope.recipients[0], envelope.content, envelope.aad)
    return OpenedCopy(envelope.message_id, signed, jws.parse_general(signed, jws.COUNTERSIGNED_MESSAGE, jws.RENDITION_ALONE))


def verify_signed(signed: jws.GeneralJws, verifier: Verifier) -> VerifiedCopy:
    """Steps 4 and 6. A payload is read before its sender's signature verifies only to learn whose key to ask for.

    Raises:
        Refusal: UNKNOWN_SENDER, SENDER_MISMATCH, KEY_NOT_VALID, BAD_SIGNATURE, MALFORMED_ENVELOPE, SCHEMA_VIOLATION,
            UNKNOWN_TYPE.
    """
    is_rendition = signed.types == jws.RENDITION_ALONE
    bodies = verifier.bodies
    _verify_hub(signed, len(signed.elements) - 1, verifier.pins)
    document = parse_object(signed.payload)
    if document.keys() != ({"header", "body", "rendition"} if is_rendition else {"header", "body"}):
        raise Refusal(RefusalCode.SCHEMA_VIOLATION, "the signed text does not have the members of a message")
    header = bodies.read_rendition_header(document["header"]) if is_rendition else bodies.read_header(document["header"])
    rendition = _read_rendition(document["rendition"]) if is_rendition else None
    if rendition is None:
        first = signed.elements[0]
        key = verifier.partners.signing_key(first.header.kid, header.sender, SignatureType.MESSAGE)
        if parse_time(document["header"]["issued"]) >= key.not_after:
            raise Refusal(RefusalCode.KEY_NOT_VALID, "the sender's key had ended when the message was issued")
        verify_es256(key.jwk, signed.signing_input(0), first.signature)
        bodies.read_body(header, document["body"])
        custody: Custody | None = key.custody
    else:
        bodies.check_rendition(header, document["body"], [one.path for one in rendition.removed])
        custody = None
    return VerifiedCopy(header, document, rendition, custody)


def take_in(item: InboxItem, opened: OpenedCopy, recipient: Recipient, verifier: Verifier) -> Incoming:
    """Steps 4 to 6, and that the copy is the one which the inbox announced.

    Raises:
        Refusal: as `verify_signed`; SENDER_MISMATCH where seal, header and inbox disagree about id, sender, type or us.
    """
    verified = verify_signed(opened.jws, verifier)
    header = verified.header
    checks = {
        "the seal and the signed header name different message ids": header.id == opened.message_id,
        "this agency is not among the signed recipients": recipient.authority in header.recipients,
        "the message is not the one that the inbox announced": (header.sender, header.type) == (item.sender, item.type),
    }
    for complaint, holds in checks.items():
        if not holds:
            raise Refusal(RefusalCode.SENDER_MISMATCH, complaint)
    return Incoming(
        delivery=item.delivery,
        exchange=item.exchange,
        header=verified.document["header"],
        body=verified.document["body"],
        digest=opened.digest,
        signed=opened.signed,
        rendition=verified.rendition,
    )


def open_part(text: str, message: Mapping[str, Any], path: str, recipient: Recipient, now: datetime) -> bytes:
    """Open a sealed part of a message with this agency's role key.

    Args:
        text: the compact JWE.
        message: the verified message that it stands in: `header`, `body` and, in a rendition, `rendition`.
        path: the JSON Pointer at which it stands in the body.
        recipient: who opens.
        now: the present instant.

    Raises:
        Refusal: MALFORMED_ENVELOPE, UNSUPPORTED_PROFILE, CANNOT_UNSEAL; SENDER_MISMATCH where it was sealed for another message
            or another field.
    """
    part = jwe.parse_part(text)
    if part.message_id != message["header"]["id"] or not _same_field(part.path, path, exactly="rendition" not in message):
        raise Refusal(RefusalCode.SENDER_MISMATCH, "the part was sealed for another message or another field")
    key = _own_key(part.recipient.kid, recipient, HeldKeyUse.ROLE, now)
    return unseal(key, part.recipient, part.content, part.aad)


def _same_field(sealed: str, found: str, *, exactly: bool) -> bool:
    """Positions in an array move when a rendition leaves out an element, so there only the names are compared."""
    if exactly:
        return sealed == found
    return [step for step in sealed.split("/") if not step.isdigit()] == [step for step in found.split("/") if not step.isdigit()]


def _own_key(kid: str, recipient: Recipient, use: HeldKeyUse, now: datetime) -> UnsealingKey:
    if not any(line.kid == kid and line.use is use for line in recipient.keyring.lines):
        raise Refusal(RefusalCode.CANNOT_UNSEAL, f"not sealed to a {use.value} key of this agency")
    return recipient.keyring.unsealing_key(kid, now)


def _verify_hub(signed: jws.GeneralJws, at: int, pins: HubPins) -> None:
    element = signed.elements[at]
    key = pins.signing_key(element.header.kid, element.header.type)
    verify_es256(key.jwk, signed.signing_input(at), element.signature)


def _read_rendition(value: object) -> Rendition:
    try:
        if not isinstance(value, dict) or not value.keys() <= {"of", "minimised", "translated_from"}:
            raise ValueError("members")
        removed = tuple(Removed(str(one["path"]), str(one["article"])) for one in value["minimised"])
        if not isinstance(value["of"], str) or not removed:
            raise ValueError("of")
    except (KeyError, TypeError, ValueError):
        raise Refusal(RefusalCode.SCHEMA_VIOLATION, "the rendition does not say of what it is and what was removed") from None
    return Rendition(value["of"], removed)
