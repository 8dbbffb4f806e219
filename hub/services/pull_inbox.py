"""The inbox of a party that pulls: what is there, and one sealed copy at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.deliveries import Delivery
from hub.domain.refusals import HubFault, Refusal, RefusalCode
from hub.formats.decision_records import finding_members
from hub.services.callers import Caller
from hub.services.deliver_message import DueDelivery, ReleasedCopy, note_release, release_copy, seal_copy
from hub.services.hub import Hub
from hub.storage import deliveries, messages
from hub.storage.registry import RegistryMovedError, require_version
from hub.storage.store import Work

POLL_SECONDS = 0.25
MAX_RACES = 5


@dataclass(frozen=True)
class InboxItem:
    """One delivery as its recipient sees it before opening it."""

    delivery: Delivery
    sender: str
    type: str


@dataclass(frozen=True)
class InboxPage:
    """Part of an inbox, ascending by position. `next` is the cursor for the page after it."""

    items: tuple[InboxItem, ...]
    next: int


def list_inbox(hub: Hub, caller: Caller, after: int, limit: int, wait_seconds: int = 0) -> InboxPage:
    """List what stands in the caller's inbox past a cursor; with `wait_seconds`, wait for something to be there.

    Raises:
        Refusal: INVALID_REQUEST for a cursor, page size or waiting time out of bounds; RATE_LIMITED where there is nothing yet,
            and too many requests wait already.
    """
    limits = hub.limits
    if after < 0 or not 1 <= limit <= limits.max_inbox_page or not 0 <= wait_seconds <= limits.max_inbox_wait_seconds:
        raise Refusal(
            RefusalCode.INVALID_REQUEST,
            f"after is at least 0, limit 1 to {limits.max_inbox_page}, wait 0 to {limits.max_inbox_wait_seconds} seconds",
        )
    if wait_seconds and not _has_news(hub, caller, after):
        with hub.waiting.seat(caller.authority, limits.max_waiting_requests):
            _wait_for_news(hub, caller, after, wait_seconds)
    with hub.store.reading() as work:
        found = deliveries.inbox(work, caller.authority, after, limit)
    items = tuple(InboxItem(*one) for one in found)
    if items:
        hub.note_alone(
            AuditEntry(
                AuditEvent.INBOX_LISTED,
                hub.clock.now(),
                caller.authority,
                details={"after": after, "count": len(items), "key": caller.kid},
            )
        )
    return InboxPage(items, items[-1].delivery.position if items else after)


def fetch_delivery(hub: Hub, caller: Caller, delivery_id: str) -> tuple[str, bytes]:
    """Decide again, and hand out the caller's copy, sealed to its current key.

    Returns:
        The exchange id and the envelope.

    Raises:
        Refusal: NOT_FOUND for what is not in the caller's inbox; what the agreement as it stands today refuses.
    """
    now = hub.clock.now()
    for _ in range(MAX_RACES):
        due = _find(hub, caller, delivery_id, now)
        try:
            sealed = seal_copy(release_copy(hub, due, now), now)
        except Refusal as refusal:
            hub.note_alone(
                _fetched(
                    due, caller, now=now, outcome=refusal.code.value, details={"findings": finding_members(refusal.findings)}
                )
            )
            raise
        try:
            hub.store.write(partial(_note_fetched, hub, copy=sealed.copy, caller=caller, now=now))
        except RegistryMovedError:
            continue  # what was decided from does not stand any more
        return due.message.exchange, sealed.envelope
    raise HubFault("the registry kept changing")


def _note_fetched(hub: Hub, work: Work, copy: ReleasedCopy, caller: Caller, now: datetime) -> None:
    require_version(work, copy.due.registry.version)
    note_release(work, copy, now)
    hub.note(work, _fetched(copy.due, caller, now=now, outcome="ok", details={"released": copy.digest}))


def _find(hub: Hub, caller: Caller, delivery_id: str, now: datetime) -> DueDelivery:
    with hub.store.reading() as work:
        delivery = deliveries.get(work, delivery_id)
        message = messages.get(work, delivery.exchange) if delivery and _is_in_inbox(delivery, caller) else None
        registry = hub.registry.at(work)
    if delivery is None or message is None:
        details = {"key": caller.kid}
        hub.note_alone(AuditEntry(AuditEvent.DELIVERY_FETCHED, now, caller.authority, outcome="not_found", details=details))
        raise Refusal(RefusalCode.NOT_FOUND)
    return DueDelivery(delivery, message, registry)


def _is_in_inbox(delivery: Delivery, caller: Caller) -> bool:
    return delivery.recipient == caller.authority and delivery.position > 0


def _fetched(due: DueDelivery, caller: Caller, *, now: datetime, outcome: str, details: dict[str, object]) -> AuditEntry:
    return AuditEntry(
        AuditEvent.DELIVERY_FETCHED,
        now,
        caller.authority,
        outcome=outcome,
        exchange=due.message.exchange,
        agreement=due.message.agreement,
        agreement_version=due.message.agreement_version,
        details={"delivery": due.delivery.id, "key": caller.kid, **details},
    )


def _wait_for_news(hub: Hub, caller: Caller, after: int, wait_seconds: int) -> None:
    until = time.monotonic() + wait_seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(POLL_SECONDS, left))
        if _has_news(hub, caller, after):
            return


def _has_news(hub: Hub, caller: Caller, after: int) -> bool:
    with hub.store.reading() as work:
        return deliveries.has_news(work, caller.authority, after)
