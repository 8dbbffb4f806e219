"""Deliveries: one accepted message on its way to one recipient."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"  # accepted, the worker has not touched it
    HELD = "held"  # in the recipient's inbox, waiting to be pulled
    SENT = "sent"  # pushed, the recipient's signed receipt is awaited
    DELIVERED = "delivered"  # the recipient's signed receipt is matched
    RETRIEVED = "retrieved"  # a person at the recipient opened it, by signed receipt
    REFUSED = "refused"  # the agreement as it stands today no longer allows it, or the recipient rejected it
    DEAD = "dead"  # not delivered in time, or retries exhausted


OPEN_STATES: frozenset[DeliveryState] = frozenset({DeliveryState.QUEUED, DeliveryState.HELD, DeliveryState.SENT})
"""States in which the recipient has not yet confirmed."""

RETRY_DELAYS: tuple[timedelta, ...] = (
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(hours=1),
)
"""Waiting time after the first, second, ... failed attempt; the last one repeats until the message expires."""


def next_attempt(attempts: int, now: datetime) -> datetime:
    """When to try again after `attempts` failed attempts (at least one)."""
    return now + RETRY_DELAYS[min(attempts, len(RETRY_DELAYS)) - 1]


@dataclass(frozen=True)
class Delivery:
    """One row of the outbox. `position` is its place in the recipient's inbox, 1 and up without gaps; 0 while not held.

    `deliver_by` and `retrieve_by` are when the negative evidence is due (None: it is issued), `reply_by` when the answer is.
    `last_error` is the code of the last failure, or "". `fence` grows with each lease and each move: a worker whose fence is
    not the stored one has lost it.
    """

    id: str
    exchange: str
    recipient: str
    state: DeliveryState
    position: int
    attempts: int
    next_attempt_at: datetime
    deliver_by: datetime
    retrieve_by: datetime | None
    reply_by: datetime
    last_error: str = ""
    fence: int = 0
