"""What a party may see of an exchange it took part in: where each delivery stands, and the receipts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.deliveries import Delivery
from hub.domain.receipts import Receipt
from hub.domain.refusals import Refusal, RefusalCode
from hub.services.callers import Caller
from hub.services.hub import Hub
from hub.services.issue_receipt import sign_receipt
from hub.storage import deliveries, messages, receipts


@dataclass(frozen=True)
class SignedReceipt:
    """A receipt with its compact JWS."""

    receipt: Receipt
    jws: str


@dataclass(frozen=True)
class ExchangeView:
    """An exchange as one of its parties sees it. A recipient sees its own delivery and receipts; the sender sees all."""

    exchange: str
    sender: str
    message_id: str
    digest: str
    type: str
    agreement: str
    agreement_version: int
    case_id: str
    accepted_at: datetime
    expires: datetime
    deliveries: tuple[Delivery, ...]
    receipts: tuple[SignedReceipt, ...]


def read_exchange(hub: Hub, caller: Caller, exchange: str) -> ExchangeView:
    """Show an exchange to one of its parties. The read is audited.

    Raises:
        Refusal: NOT_FOUND for an exchange that is not there or that the caller had no part in.
    """
    with hub.store.reading() as work:
        took_part = messages.involves(work, exchange, caller.authority)
        message = messages.heads(work, [exchange]).get(exchange) if took_part else None
        found = deliveries.of_exchange(work, exchange)
        evidence = receipts.of_exchange(work, exchange)
    if message is None:
        details = {"key": caller.kid}
        hub.note_alone(
            AuditEntry(AuditEvent.MESSAGE_READ, hub.clock.now(), caller.authority, outcome="not_found", details=details)
        )
        raise Refusal(RefusalCode.NOT_FOUND)
    is_sender = message.sender == caller.authority
    seen = found if is_sender else [one for one in found if one.recipient == caller.authority]
    shown = evidence if is_sender else [one for one in evidence if one.recipient == caller.authority]
    hub.note_alone(
        AuditEntry(
            AuditEvent.MESSAGE_READ,
            hub.clock.now(),
            caller.authority,
            exchange=exchange,
            agreement=message.agreement,
            agreement_version=message.agreement_version,
            details={"key": caller.kid, "receipts": len(shown)},
        )
    )
    return ExchangeView(
        exchange=exchange,
        sender=message.sender,
        message_id=message.message_id,
        digest=message.digest if is_sender else "",
        type=message.type,
        agreement=message.agreement,
        agreement_version=message.agreement_version,
        case_id=message.case_id,
        accepted_at=message.accepted_at,
        expires=message.expires,
        deliveries=tuple(seen),
        receipts=tuple(SignedReceipt(one, sign_receipt(hub, one)) for one in shown),
    )


def find_exchange(hub: Hub, sender: str, message_id: str) -> str:
    """The exchange under which a sender's message was accepted.

    Raises:
        Refusal: NOT_FOUND.
    """
    with hub.store.reading() as work:
        claim = messages.find_claim(work, sender, message_id)
    if claim is None:
        raise Refusal(RefusalCode.NOT_FOUND)
    return claim[0]
