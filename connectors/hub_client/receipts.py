"""Receipts: verifying the hub's and the partners', and writing one's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.contract import VerifiedReceipt
from connectors.hub_client.trust import HubPins, PartnerKeys
from hub.crypto.signatures import SigningKey, verify_es256
from hub.domain.encoding import b64url_encode, format_time
from hub.domain.parties import HUB_PARTY
from hub.domain.receipts import RECIPIENT_EVENTS, ReceiptEvent
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats.canonical_json import canonical_json
from hub.formats.json_gate import parse_object
from hub.formats.jws import parse_compact, protected_header, serialise_compact, signing_input

MAX_RECEIPT_CHARACTERS = 256 * 1024
"""The hub's receipt for 32 recipients lists what was removed for each."""


@dataclass(frozen=True)
class Statement:
    """What an agency states about one delivery.

    `of` is the original's digest where it got a rendition, `reason` why it rejects; else both are "".
    """

    event: ReceiptEvent
    exchange: str
    delivery: str
    sender: str
    message_id: str
    digest: str
    of: str = ""
    reason: str = ""


def write_receipt(statement: Statement, authority: str, key: SigningKey, now: datetime) -> str:
    """Sign a statement as a compact JWS of type hub-receipt+jws."""
    optional = {"of": statement.of, "reason": statement.reason}
    members: dict[str, object] = {
        "v": 1,
        "event": statement.event.value,
        "issuer": authority,
        "recipient": authority,
        "exchange": statement.exchange,
        "delivery": statement.delivery,
        "message": {"sender": statement.sender, "id": statement.message_id, "digest": statement.digest},
        "time": format_time(now),
        **{name: value for name, value in optional.items() if value},
    }
    protected, text = protected_header(key.kid, SignatureType.RECEIPT), b64url_encode(canonical_json(members))
    return serialise_compact(protected, text, key.sign(signing_input(protected, text)))


def verify_receipt(text: object, pins: HubPins, partners: PartnerKeys) -> VerifiedReceipt:
    """Verify a receipt with the pinned key of the one who it says issued it, then read it.

    1. It is a compact JWS of type hub-receipt+jws. 2. Its issuer is the hub that is pinned, or the recipient that it concerns.
    3. The key is that issuer's, for receipts. 4. The signature verifies. What it is about is for `require_about`.

    Raises:
        Refusal: MALFORMED_ENVELOPE, UNSUPPORTED_PROFILE, TOO_LARGE; RECEIPT_MISMATCH (members that a receipt cannot have);
            UNKNOWN_SENDER, SENDER_MISMATCH, KEY_NOT_VALID, BAD_SIGNATURE.
    """
    if not isinstance(text, str):
        raise Refusal(RefusalCode.MALFORMED_ENVELOPE, "there is no receipt in the answer")
    if len(text) > MAX_RECEIPT_CHARACTERS:
        raise Refusal(RefusalCode.TOO_LARGE, "no receipt is that long")
    signed = parse_compact(text, SignatureType.RECEIPT)
    members = parse_object(signed.payload)
    receipt = _read(members, text, b64url_encode(hashlib.sha256(signed.payload).digest()))
    kid = signed.element.header.kid
    if receipt.issuer == HUB_PARTY:
        if members.get("hub") != pins.name:
            raise Refusal(RefusalCode.RECEIPT_MISMATCH, "the receipt is of another hub")
        key = pins.signing_key(kid, SignatureType.RECEIPT)
    else:
        if receipt.event not in RECIPIENT_EVENTS or receipt.recipient != receipt.issuer:
            raise Refusal(RefusalCode.RECEIPT_MISMATCH, "only the hub or the recipient itself may state this")
        key = partners.signing_key(kid, receipt.issuer, SignatureType.RECEIPT)
    verify_es256(key.jwk, signed.signing_input(), signed.element.signature)
    return receipt


def require_about(receipt: VerifiedReceipt, **expected: object) -> VerifiedReceipt:
    """Check that a receipt states what is expected of it, member by member of `VerifiedReceipt`.

    Raises:
        Refusal: RECEIPT_MISMATCH, naming the members that disagree.
    """
    wrong = [name for name, value in expected.items() if getattr(receipt, name) != value]
    if wrong:
        raise Refusal(RefusalCode.RECEIPT_MISMATCH, f"the receipt disagrees in {', '.join(wrong)}")
    return receipt


def _read(members: Mapping[str, Any], text: str, digest: str) -> VerifiedReceipt:
    """Take the members out of a payload whose signature is verified before anybody sees them."""
    about = members.get("message")
    plain = [members.get(name, "") for name in ("issuer", "exchange", "recipient", "time")]
    subject = [about.get(name) for name in ("sender", "id", "digest")] if isinstance(about, dict) else [None]
    known_event = members.get("event") in list(ReceiptEvent)
    if members.get("v") != 1 or not known_event or not all(isinstance(one, str) for one in [*plain, *subject]):
        raise Refusal(RefusalCode.RECEIPT_MISMATCH, "not the members of a receipt")
    issuer, exchange, recipient, time = (str(one) for one in plain)
    sender, message_id, message_digest = (str(one) for one in subject)
    return VerifiedReceipt(
        ReceiptEvent(members["event"]),
        issuer,
        exchange,
        recipient,
        sender,
        message_id,
        message_digest,
        time,
        members,
        digest,
        text,
    )
