"""A recipient's signed receipt: matched to what was released to it, recorded, and answered with the hub's own."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from hub.crypto.signatures import verify_es256
from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.deliveries import Delivery, DeliveryState
from hub.domain.encoding import b64url_encode, parse_time
from hub.domain.keys import KeyUse
from hub.domain.parties import HUB_PARTY
from hub.domain.receipts import RECIPIENT_EVENTS, Receipt, ReceiptEvent
from hub.domain.refusals import HubFault, Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats import jws
from hub.formats.json_gate import parse_object
from hub.services.callers import Caller
from hub.services.deliver_message import subject_of
from hub.services.hub import Hub
from hub.services.issue_receipt import IssuedReceipt, plan_receipt, sign_receipt
from hub.storage import deliveries, messages, receipts
from hub.storage.messages import MessageRow
from hub.storage.store import Work

MAX_RECEIPT_CHARACTERS = 16_384
MAX_RACES = 5

_MEMBERS = frozenset({"v", "event", "issuer", "recipient", "exchange", "delivery", "message", "time"})
_OPTIONAL_MEMBERS = frozenset({"of", "reason"})
_REASON = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}\Z")

_STATES = {
    ReceiptEvent.DELIVERED: DeliveryState.DELIVERED,
    ReceiptEvent.RETRIEVED: DeliveryState.RETRIEVED,
    ReceiptEvent.REJECTED: DeliveryState.REFUSED,
}
_MAY_FOLLOW = {
    ReceiptEvent.DELIVERED: {DeliveryState.HELD, DeliveryState.QUEUED, DeliveryState.SENT, DeliveryState.DEAD},
    ReceiptEvent.REJECTED: {DeliveryState.HELD, DeliveryState.QUEUED, DeliveryState.SENT, DeliveryState.DEAD},
    ReceiptEvent.RETRIEVED: {DeliveryState.DELIVERED},
}


@dataclass(frozen=True)
class VerifiedReceipt:
    """A recipient's receipt whose signature verified with a key of that recipient."""

    event: ReceiptEvent
    kid: str
    payload: bytes
    members: dict[str, object]
    text: str


def record_receipt(hub: Hub, caller: Caller, delivery_id: str, text: str) -> IssuedReceipt:
    """Take a recipient's receipt for one delivery.

    Args:
        hub: the hub.
        caller: who sends it; must be the recipient and the signer.
        delivery_id: which delivery it is for.
        text: a compact JWS of type hub-receipt+jws.

    Returns:
        The hub's receipt that states the same to the sender; the first one again for a repeat.

    Raises:
        Refusal: NOT_FOUND, MALFORMED_ENVELOPE, UNKNOWN_SENDER, KEY_NOT_VALID, BAD_SIGNATURE, RECEIPT_MISMATCH.
    """
    now = hub.clock.now()
    with hub.store.reading() as work:
        delivery = deliveries.get(work, delivery_id)
    mine = delivery if delivery is not None and delivery.recipient == caller.authority else None
    try:
        if mine is None:
            raise Refusal(RefusalCode.NOT_FOUND)
        verified = verify_receipt(hub, caller, text, now)
        receipt, repeated = _record_once(hub, mine.id, verified, now)
    except Refusal as refusal:
        arrival = b64url_encode(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        entry = AuditEntry(
            AuditEvent.RECEIPT_REFUSED,
            now,
            caller.authority,
            outcome=refusal.code.value,
            exchange=mine.exchange if mine else "",
            details={"arrival": arrival, **({"delivery": mine.id} if mine else {})},
        )
        hub.note_alone(entry)
        raise
    return IssuedReceipt(receipt.exchange, sign_receipt(hub, receipt), repeated)


def record_pushed_receipt(hub: Hub, recipient: str, delivery_id: str, text: str) -> IssuedReceipt:
    """Take the receipt with which a push partner answered; its signature says who it is from.

    Raises:
        Refusal: as `record_receipt`.
    """
    return record_receipt(hub, Caller(recipient, ""), delivery_id, text)


def _record_once(hub: Hub, delivery_id: str, verified: VerifiedReceipt, now: datetime) -> tuple[Receipt, bool]:
    for _ in range(MAX_RACES):
        try:
            return hub.store.write(lambda work: _record(hub, work, delivery_id, verified, now))
        except (deliveries.LeaseLostError, receipts.ReceiptExistsError):
            continue  # a worker moved the delivery, or the same receipt came twice at once: look again
    raise HubFault("the delivery kept changing")


def verify_receipt(hub: Hub, caller: Caller, text: str, now: datetime) -> VerifiedReceipt:
    """Verify the signature with the caller's registered key, then read what it states.

    Raises:
        Refusal: TOO_LARGE, MALFORMED_ENVELOPE, UNKNOWN_SENDER, KEY_NOT_VALID, BAD_SIGNATURE, RECEIPT_MISMATCH.
    """
    if len(text) > MAX_RECEIPT_CHARACTERS:
        raise Refusal(RefusalCode.TOO_LARGE, f"a receipt has at most {MAX_RECEIPT_CHARACTERS} characters")
    signed = jws.parse_compact(text, SignatureType.RECEIPT)
    with hub.store.reading() as work:
        key = hub.registry.at(work).keys.get(signed.element.header.kid)
    if key is None or key.owner != caller.authority:
        raise Refusal(RefusalCode.UNKNOWN_SENDER, "the receipt is not signed with a key of the recipient")
    if key.use is not KeyUse.SIGNING or SignatureType.RECEIPT not in key.signs or not key.is_accepted(now):
        raise Refusal(RefusalCode.KEY_NOT_VALID)
    verify_es256(key.jwk, signed.signing_input(), signed.element.signature)
    members = parse_object(signed.payload)
    _check_members(members)
    return VerifiedReceipt(ReceiptEvent(members["event"]), key.kid, signed.payload, members, text)


def _check_members(members: dict[str, object]) -> None:
    """Check that a receipt has its members and no others: it is kept in the clear, so nothing may be told in it.

    Raises:
        Refusal: RECEIPT_MISMATCH.
    """
    if not _MEMBERS <= members.keys() <= _MEMBERS | _OPTIONAL_MEMBERS or members["v"] != 1 or members["v"] is True:
        raise Refusal(RefusalCode.RECEIPT_MISMATCH, "these are not the members of a receipt of version 1")
    if members["event"] not in list(RECIPIENT_EVENTS):
        raise Refusal(RefusalCode.RECEIPT_MISMATCH, "a recipient states delivered, rejected or retrieved")
    has_reason = _REASON.match(str(members.get("reason", ""))) is not None
    if has_reason != (members["event"] == ReceiptEvent.REJECTED):
        raise Refusal(RefusalCode.RECEIPT_MISMATCH, "a rejection, and nothing else, gives its reason as a code")
    if "of" in members and not _DIGEST.match(str(members["of"])):
        raise Refusal(RefusalCode.RECEIPT_MISMATCH, "of is not a digest")
    try:
        parse_time(str(members["time"]))
    except ValueError:
        raise Refusal(RefusalCode.RECEIPT_MISMATCH, "the time is not RFC 3339 in UTC") from None


def _record(hub: Hub, work: Work, delivery_id: str, verified: VerifiedReceipt, now: datetime) -> tuple[Receipt, bool]:
    delivery = deliveries.get(work, delivery_id)
    message = messages.heads(work, [delivery.exchange]).get(delivery.exchange) if delivery else None
    if delivery is None or message is None:
        raise HubFault("a delivery without its message")
    _match(work, delivery, message, verified)
    known = receipts.find(work, message.exchange, delivery.recipient, verified.event, HUB_PARTY)
    if known is not None:
        return known, True
    if not _may_follow(delivery, verified.event):
        raise Refusal(RefusalCode.RECEIPT_MISMATCH, f"{verified.event.value} cannot follow {delivery.state.value}")
    partner = Receipt(
        exchange=message.exchange,
        recipient=delivery.recipient,
        event=verified.event,
        issuer=delivery.recipient,
        kid=verified.kid,
        payload=verified.payload,
        digest=b64url_encode(hashlib.sha256(verified.payload).digest()),
        recorded_at=now,
        jws=verified.text,
    )
    details: dict[str, object] = {"delivery": delivery.id, "of": partner.digest}
    if verified.event is ReceiptEvent.REJECTED:
        details["reason"] = verified.members["reason"]
    own = plan_receipt(hub, subject_of(message), verified.event, delivery.recipient, now=now, details=details)
    receipts.add(work, [partner, own])
    deliveries.move(work, delivery, _STATES[verified.event])
    hub.note(
        work,
        AuditEntry(
            AuditEvent.RECEIPT_RECORDED,
            now,
            delivery.recipient,
            outcome=verified.event.value,
            exchange=message.exchange,
            agreement=message.agreement,
            agreement_version=message.agreement_version,
            details={"delivery": delivery.id, "receipt": own.digest, "of": partner.digest},
        ),
    )
    return own, False


def _may_follow(delivery: Delivery, event: ReceiptEvent) -> bool:
    """Whether the event fits the state. What the hub closed may have arrived before: then its `last_error` says why."""
    if delivery.state is DeliveryState.REFUSED and delivery.last_error:
        return event is not ReceiptEvent.RETRIEVED
    return delivery.state in _MAY_FOLLOW[event]


def _match(work: Work, delivery: Delivery, message: MessageRow, verified: VerifiedReceipt) -> None:
    """Compare what the receipt states with what was released. Whoever rejects what did not open knows neither id nor digest.

    Raises:
        Refusal: RECEIPT_MISMATCH.
    """
    members = verified.members
    about = members.get("message")
    expected = {
        "issuer": delivery.recipient,
        "recipient": delivery.recipient,
        "exchange": message.exchange,
        "delivery": delivery.id,
    }
    wrong = [name for name, value in expected.items() if members.get(name) != value]
    digest = about.get("digest") if isinstance(about, dict) else None
    released = isinstance(digest, str) and deliveries.was_released(work, delivery.id, digest)
    unopened = {"sender": message.sender, "id": "", "digest": ""}
    if not (verified.event is ReceiptEvent.REJECTED and about == unopened):
        if about != {"sender": message.sender, "id": message.message_id, "digest": digest}:
            wrong.append("message")
        if not released:
            wrong.append("message.digest")
        elif members.get("of", message.digest if digest == message.digest else None) != message.digest:
            wrong.append("of")  # a sender that sees another digest than its own must be able to tell of what
    if wrong:
        raise Refusal(RefusalCode.RECEIPT_MISMATCH, f"the receipt disagrees with the delivery in {', '.join(wrong)}")
