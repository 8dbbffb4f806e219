"""Deadlines that pass create their evidence by themselves, and a delivery past its message's expiry dies."""

from __future__ import annotations

from datetime import datetime

from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.deliveries import Delivery, DeliveryState
from hub.domain.parties import HUB_PARTY
from hub.domain.receipts import ReceiptEvent
from hub.domain.refusals import RefusalCode
from hub.services.deliver_message import subject_of
from hub.services.hub import Hub
from hub.services.issue_receipt import plan_receipt
from hub.services.note_refusals import write_refusal_sum
from hub.storage import access, deliveries, messages, receipts
from hub.storage.messages import MessageRow
from hub.storage.store import Work

MOST_AT_ONCE = 200


def close_deadlines(hub: Hub) -> int:
    """Issue the negative evidence that is due now; says how much.

    Negative evidence is a fact about a deadline, not an end: a message may still be delivered after it, until it expires.
    """
    now = hub.clock.now()
    return hub.store.write(lambda work: _close(hub, work, now))


def tidy(hub: Hub) -> None:
    """Forget token ids that cannot be used again, and write the sum of refusals that were only counted."""
    now = hub.clock.now()
    hub.store.write(lambda work: access.forget_expired(work, now))
    write_refusal_sum(hub, now)


def _close(hub: Hub, work: Work, now: datetime) -> int:
    overdue, unread = deliveries.overdue(work, now, MOST_AT_ONCE), deliveries.unread(work, now, MOST_AT_ONCE)
    found = messages.heads(work, {one.exchange for one in (*overdue, *unread)})
    for delivery in overdue:
        message = found[delivery.exchange]
        _state(hub, work, delivery, message, event=ReceiptEvent.NOT_DELIVERED, now=now)
        deliveries.note_evidence(work, delivery, deliver_by=message.expires)
        if message.expires <= now:
            deliveries.move(work, delivery, DeliveryState.DEAD, last_error=delivery.last_error or RefusalCode.EXPIRED.value)
    for delivery in unread:
        _state(hub, work, delivery, found[delivery.exchange], event=ReceiptEvent.NOT_RETRIEVED, now=now)
        deliveries.note_evidence(work, delivery, retrieve_by=None)
    return len(overdue) + len(unread)


def _state(hub: Hub, work: Work, delivery: Delivery, message: MessageRow, *, event: ReceiptEvent, now: datetime) -> None:
    if receipts.find(work, message.exchange, delivery.recipient, event, HUB_PARTY) is not None:
        return
    details = {
        "delivery": delivery.id,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "last_error": delivery.last_error,
    }
    receipt = plan_receipt(hub, subject_of(message), event, delivery.recipient, now=now, details=details)
    receipts.add(work, [receipt])
    hub.note(
        work,
        AuditEntry(
            AuditEvent.RECEIPT_ISSUED,
            now,
            HUB_PARTY,
            outcome=event.value,
            exchange=message.exchange,
            agreement=message.agreement,
            agreement_version=message.agreement_version,
            details={"delivery": delivery.id, "recipient": delivery.recipient, "receipt": receipt.digest},
        ),
    )
