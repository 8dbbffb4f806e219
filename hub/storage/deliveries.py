"""The outbox: deliveries, their leases, and each recipient's inbox with gapless positions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Integer, Select, bindparam, func, null, or_, select, text, update

from hub.domain.deliveries import OPEN_STATES, Delivery, DeliveryState
from hub.storage.hot_statements import HotStatement, hot_insert
from hub.storage.store import Work
from hub.storage.tables import Instant, deliveries, inbox_ends, insert_new, messages, releases

_ADD = hot_insert(deliveries)
_MOVE = HotStatement(
    update(deliveries)
    .where(deliveries.c.id == bindparam("of"), deliveries.c.fence == bindparam("held"))
    .values(
        state=bindparam("to_state"),
        lease_until=null(),
        last_error=bindparam("error"),
        fence=deliveries.c.fence + 1,
        next_attempt_at=func.coalesce(bindparam("again_at", type_=Instant), deliveries.c.next_attempt_at),
        attempts=func.coalesce(bindparam("tried", type_=Integer), deliveries.c.attempts),
        position=func.coalesce(bindparam("place", type_=BigInteger), deliveries.c.position),
    )
)
_COLUMNS = tuple(
    deliveries.c[name]
    for name in ("id", "exchange", "recipient", "state", "position", "attempts", "next_attempt_at", "deliver_by", "retrieve_by",
                 "reply_by", "last_error", "fence")
)  # fmt: skip
_TAKE_POSITIONS = text(
    "INSERT INTO inbox_ends (recipient, position) VALUES (:recipient, :count) "
    "ON CONFLICT (recipient) DO UPDATE SET position = inbox_ends.position + excluded.position RETURNING position"
)
_RELEASE = insert_new(releases)
_GET = select(*_COLUMNS).where(deliveries.c.id == bindparam("wanted"))


@dataclass(frozen=True)
class Release:
    """What was released under a delivery: base64url SHA-256 of the signed octets, and the decision as canonical JSON."""

    delivery: str
    digest: str
    agreement_version: int
    decision: bytes
    released_at: datetime


class LeaseLostError(Exception):
    """Somebody else took this delivery over or moved it; nothing of this one's work on it is kept."""


def add(work: Work, new: Sequence[Delivery]) -> None:
    """Queue deliveries."""
    _ADD.run(work, ({**one.__dict__, "state": one.state.value, "position": None, "lease_until": None} for one in new))


def get(work: Work, delivery_id: str) -> Delivery | None:
    """One delivery, or None."""
    row = work.execute(_GET, {"wanted": delivery_id}).first()
    return _delivery(row) if row else None


def of_exchange(work: Work, exchange: str) -> list[Delivery]:
    """The deliveries of one message, one for each recipient, in a stable order."""
    return _all(work, select(*_COLUMNS).where(deliveries.c.exchange == exchange).order_by(deliveries.c.id))


def lease_due(work: Work, now: datetime, until: datetime, most: int, *, but_not_of: Collection[str] = ()) -> list[Delivery]:
    """Take at most `most` due deliveries until `until`: each gets a higher fence, and no other worker gets it before then.

    Those of the recipients `but_not_of` are left.
    """
    return _lease(work, _due(now).where(deliveries.c.recipient.not_in(but_not_of)), until, most)


def lease_due_of(
    work: Work, recipients: Collection[str], now: datetime, until: datetime, *, most: int, most_each: int
) -> list[Delivery]:
    """As `lease_due`, of these recipients only, and at most `most_each` of one: so none of them fills the worker alone."""
    columns = deliveries.c
    place = func.row_number().over(partition_by=columns.recipient, order_by=(columns.next_attempt_at, columns.id))
    ranked = _due(now).where(columns.recipient.in_(recipients)).add_columns(place.label("place")).subquery()
    first = select(ranked.c.id).where(ranked.c.place <= most_each)
    return _lease(work, _due(now).where(columns.id.in_(first)), until, most)


def _due(now: datetime) -> Select[tuple[str]]:
    columns = deliveries.c
    return select(columns.id).where(
        columns.state.in_([DeliveryState.QUEUED.value, DeliveryState.SENT.value]),
        columns.next_attempt_at <= now,
        or_(columns.lease_until.is_(None), columns.lease_until <= now),
    )


def _lease(work: Work, due: Select[tuple[str]], until: datetime, most: int) -> list[Delivery]:
    columns = deliveries.c
    taken = due.order_by(columns.next_attempt_at, columns.id).limit(most).with_for_update(skip_locked=True)
    ids = list(work.execute(taken).scalars())
    if not ids:
        return []
    work.execute(update(deliveries).where(columns.id.in_(ids)).values(lease_until=until, fence=columns.fence + 1))
    return _all(work, select(*_COLUMNS).where(columns.id.in_(ids)).order_by(columns.id))


def move(
    work: Work,
    delivery: Delivery,
    state: DeliveryState,
    *,
    next_attempt_at: datetime | None = None,
    attempts: int | None = None,
    position: int | None = None,
    last_error: str = "",
) -> None:
    """Bring a delivery into a state and give its lease up. Its fence grows, so that whoever held it notices.

    Raises:
        LeaseLostError: its fence is not the stored one any more.
    """
    values = {"to_state": state.value, "error": last_error, "of": delivery.id, "held": delivery.fence}
    kept = {"again_at": next_attempt_at, "tried": attempts, "place": position}
    if _MOVE.count(work, **values, **kept) != 1:
        raise LeaseLostError(delivery.id)


def take_positions(work: Work, recipient: str, count: int) -> int:
    """Reserve `count` consecutive positions in a recipient's inbox; the first of them is returned.

    The counter's row stays locked until commit, so positions become visible in their own order: a reader that has seen n will
    never later find a new one at or below n.
    """
    end: int = work.execute(_TAKE_POSITIONS, {"recipient": recipient, "count": count}).scalar_one()
    return end - count + 1


def inbox(work: Work, recipient: str, after: int, most: int) -> list[tuple[Delivery, str, str]]:
    """What stands in a recipient's inbox past position `after`, ascending, as (delivery, sender, message type)."""
    rows = work.execute(
        select(*_COLUMNS, messages.c.sender, messages.c.type)
        .join(messages, messages.c.exchange == deliveries.c.exchange)
        .where(deliveries.c.recipient == recipient, deliveries.c.position > after)
        .order_by(deliveries.c.position)
        .limit(most)
    )
    return [(_delivery(row), row.sender, row.type) for row in rows]


def has_news(work: Work, recipient: str, after: int) -> bool:
    """Whether the inbox holds anything past position `after`."""
    end = work.execute(select(inbox_ends.c.position).where(inbox_ends.c.recipient == recipient)).scalar_one_or_none()
    return end is not None and end > after


def overdue(work: Work, now: datetime, most: int) -> list[Delivery]:
    """Deliveries that the recipient's system has not confirmed by their deadline. They stand still until this work ends."""
    columns = deliveries.c
    return _all(
        work,
        select(*_COLUMNS)
        .where(columns.state.in_([state.value for state in OPEN_STATES]), columns.deliver_by <= now)
        .order_by(columns.deliver_by)
        .limit(most)
        .with_for_update(skip_locked=True),
    )


def unread(work: Work, now: datetime, most: int) -> list[Delivery]:
    """Deliveries that no person has opened by their deadline and that have no evidence of it yet; as `overdue`."""
    columns = deliveries.c
    return _all(
        work,
        select(*_COLUMNS)
        .where(columns.state == DeliveryState.DELIVERED.value, columns.retrieve_by <= now)
        .order_by(columns.retrieve_by)
        .limit(most)
        .with_for_update(skip_locked=True),
    )


def note_evidence(work: Work, delivery: Delivery, **values: datetime | None) -> None:
    """Note that negative evidence was issued: `deliver_by` (when to look again), `retrieve_by` (None: never)."""
    work.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(**values))


def counts(work: Work) -> dict[str, int]:
    """How many deliveries stand in each state."""
    rows = work.execute(select(deliveries.c.state, func.count()).group_by(deliveries.c.state))
    return {row[0]: row[1] for row in rows}


def in_state(work: Work, state: DeliveryState, most: int) -> list[Delivery]:
    """At most `most` deliveries in a state."""
    return _all(work, select(*_COLUMNS).where(deliveries.c.state == state.value).order_by(deliveries.c.id).limit(most))


def record_release(work: Work, release: Release) -> bool:
    """Note that these octets were released to the recipient; says whether they were new."""
    return work.execute(_RELEASE, release.__dict__).first() is not None


def was_released(work: Work, delivery: str, digest: str) -> bool:
    """Whether octets with this digest were released under this delivery."""
    columns = releases.c
    return work.execute(select(columns.digest).where(columns.delivery == delivery, columns.digest == digest)).first() is not None


def releases_of(work: Work, delivery: str) -> list[bytes]:
    """The decisions under which something was released, in time order, as canonical JSON."""
    columns = releases.c
    return list(
        work.execute(select(columns.decision).where(columns.delivery == delivery).order_by(columns.released_at)).scalars()
    )


def _all(work: Work, statement: Select[Any]) -> list[Delivery]:
    return [_delivery(row) for row in work.execute(statement)]


def _delivery(row: Any) -> Delivery:
    values = {column.name: row._mapping[column.name] for column in _COLUMNS}
    return Delivery(**{**values, "state": DeliveryState(values["state"]), "position": values["position"] or 0})
