"""What the operator does about deliveries that do not get through: look at them, and try one again now."""

from __future__ import annotations

from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.deliveries import Delivery, DeliveryState
from hub.domain.refusals import Refusal, RefusalCode
from hub.services.change_registry import OPERATOR
from hub.services.hub import Hub
from hub.storage import deliveries, messages
from hub.storage.store import Work

_REQUEUED_FROM = frozenset({DeliveryState.QUEUED, DeliveryState.SENT, DeliveryState.DEAD})


def list_deliveries(hub: Hub, state: DeliveryState, most: int) -> list[Delivery]:
    """At most `most` deliveries in a state, oldest first."""
    with hub.store.reading() as work:
        return deliveries.in_state(work, state, most)


def requeue_delivery(hub: Hub, delivery_id: str) -> Delivery:
    """Try a delivery again at once, as if it had never failed.

    Returns:
        The delivery as it stood before.

    Raises:
        Refusal: NOT_FOUND; EXPIRED where the message may not be delivered any more; INVALID_REQUEST where it is not waiting.
    """
    now = hub.clock.now()

    def unit(work: Work) -> Delivery:
        delivery = deliveries.get(work, delivery_id)
        message = messages.get(work, delivery.exchange) if delivery else None
        if delivery is None or message is None:
            raise Refusal(RefusalCode.NOT_FOUND, "there is no such delivery")
        if delivery.state not in _REQUEUED_FROM:
            raise Refusal(RefusalCode.INVALID_REQUEST, f"the delivery is {delivery.state}, not waiting to be sent")
        if message.expires <= now:
            raise Refusal(RefusalCode.EXPIRED)
        deliveries.move(work, delivery, DeliveryState.QUEUED, next_attempt_at=now, attempts=0)
        details = {"delivery": delivery.id, "recipient": delivery.recipient, "state": delivery.state.value}
        hub.note(work, AuditEntry(AuditEvent.DELIVERY_REQUEUED, now, OPERATOR, exchange=message.exchange, details=details))
        return delivery

    return hub.store.write(unit)
