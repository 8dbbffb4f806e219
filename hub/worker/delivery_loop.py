"""The delivery loop: takes what is due, holds it for pulling or pushes it, and records what became of it."""

from __future__ import annotations

import structlog

from hub.domain.refusals import Refusal
from hub.services.deliver_message import PushTask, record_push, relay, take_due
from hub.services.hub import Hub
from hub.services.record_receipt import record_pushed_receipt
from hub.worker.push_client import PushClient

MOST_AT_ONCE = 100
MOST_FOR_ONE_PARTNER = 4
"""Pushes to one partner that a round takes, and from how many on their way it gets nothing more: others have the other places."""

_log = structlog.get_logger("hub.worker")


class DeliveryLoop:
    """One worker's deliveries. Several workers may run: a lease with a fence keeps each delivery with one of them."""

    def __init__(self, hub: Hub, client: PushClient) -> None:
        self._hub = hub
        self._client = client

    def once(self) -> int:
        """Take what is due and bring it on its way; says how many deliveries that were."""
        busy = self._client.busy(MOST_FOR_ONE_PARTNER)
        due = take_due(self._hub, MOST_AT_ONCE, most_pushes=self._client.room, pushes_each=MOST_FOR_ONE_PARTNER, busy=busy)
        if due:
            for task in relay(self._hub, due):
                self._client.submit(task)
        return len(due)


def record_result(hub: Hub, task: PushTask, error: str | None, receipt: str) -> None:
    """Record a push, and the partner's receipt where it answered with one."""
    delivery = task.sealed.copy.due.delivery
    try:
        record_push(hub, task, error)
        if error is None and receipt:
            record_pushed_receipt(hub, delivery.recipient, delivery.id, receipt)
    except Refusal as refusal:  # audited where it was raised; the delivery is pushed again when its time comes
        _log.info("receipt refused", delivery=delivery.id, code=refusal.code.value)
