"""Receipts, each once: the hub's as the octets to sign, a partner's also as the signed form it sent."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError

from hub.domain.receipts import Receipt, ReceiptEvent
from hub.storage.hot_statements import hot_insert
from hub.storage.store import Work
from hub.storage.tables import receipts

_ADD = hot_insert(receipts, leave_out="serial")
_COLUMNS = tuple(
    receipts.c[name] for name in ("exchange", "recipient", "event", "issuer", "kid", "payload", "digest", "recorded_at", "jws")
)
_ONE = select(*_COLUMNS).where(
    receipts.c.exchange == bindparam("of_exchange"),
    receipts.c.recipient == bindparam("for_recipient"),
    receipts.c.event == bindparam("of_event"),
    receipts.c.issuer == bindparam("by_issuer"),
)


class ReceiptExistsError(Exception):
    """This exchange has a receipt for this recipient, event and issuer already."""


def add(work: Work, new: Sequence[Receipt]) -> None:
    """Store receipts. At most one stands for each (exchange, recipient, event, issuer).

    Raises:
        ReceiptExistsError: one of them stands already.
    """
    try:
        _ADD.run(work, ({**one.__dict__, "event": one.event.value} for one in new))
    except IntegrityError as error:
        raise ReceiptExistsError from error


def find(work: Work, exchange: str, recipient: str, event: ReceiptEvent, issuer: str) -> Receipt | None:
    """The one receipt of this kind, or None."""
    row = work.execute(
        _ONE, {"of_exchange": exchange, "for_recipient": recipient, "of_event": event.value, "by_issuer": issuer}
    ).first()
    return _receipt(row) if row else None


def of_exchange(work: Work, exchange: str) -> list[Receipt]:
    """Every receipt of an exchange, in the order in which they were recorded."""
    return [
        _receipt(row)
        for row in work.execute(select(*_COLUMNS).where(receipts.c.exchange == exchange).order_by(receipts.c.serial))
    ]


def _receipt(row: object) -> Receipt:
    values = dict(row._mapping)  # type: ignore[attr-defined]  # a SQLAlchemy row
    values["event"] = ReceiptEvent(values["event"])
    return Receipt(**values)
