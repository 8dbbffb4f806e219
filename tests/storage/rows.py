"""Rows with made-up values, for tests that care about few of them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hub.domain.deliveries import Delivery, DeliveryState
from hub.domain.receipts import Receipt, ReceiptEvent
from hub.storage import deliveries, messages
from hub.storage.messages import MessageRow
from hub.storage.store import Store, Work
from tests.simulators.exchange import START

SOON = START + timedelta(seconds=10)
LATER = START + timedelta(hours=1)


def message(exchange: str = "x1", **changes: Any) -> MessageRow:
    row = MessageRow(
        exchange=exchange,
        sender="tw.npa",
        message_id=f"id of {exchange}",
        digest="d" * 43,
        type="ht-referral",
        agreement="order",
        agreement_version=1,
        case_id=f"id of {exchange}",
        accepted_at=START,
        expires=LATER,
        facts=b"{}",
        storage_kid="storage-1",
        wrapped_key=b"key",
        content=b"content",
    )
    return replace(row, **changes)


def delivery(delivery_id: str = "d1", **changes: Any) -> Delivery:
    row = Delivery(
        id=delivery_id,
        exchange="x1",
        recipient="jp.npa",
        state=DeliveryState.QUEUED,
        position=0,
        attempts=0,
        next_attempt_at=START,
        deliver_by=LATER,
        retrieve_by=LATER,
        reply_by=LATER,
    )
    return replace(row, **changes)


def receipt(event: ReceiptEvent = ReceiptEvent.ACCEPTED, **changes: Any) -> Receipt:
    return replace(Receipt("x1", "", event, "hub", "kid", b"{}", f"digest of {event.value}", START), **changes)


def queue(store: Store, *queued: Delivery) -> None:
    """Store one message, and these deliveries of it."""

    def unit(work: Work) -> None:
        messages.add(work, message())
        if queued:
            deliveries.add(work, queued)

    store.write(unit)
