"""The audit queue: entries written with what they tell of, waiting for their place in the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, func, select, update

from hub.storage.hot_statements import HotStatement, hot_insert
from hub.storage.store import Work
from hub.storage.tables import audit_entries

_ADD = hot_insert(audit_entries, leave_out="serial")
_PENDING = (
    select(audit_entries.c.serial, audit_entries.c.entry, audit_entries.c.nonce)
    .where(audit_entries.c.tree_index.is_(None))
    .order_by(audit_entries.c.serial)
    .limit(bindparam("most"))
)
_PLACE = HotStatement(
    update(audit_entries).where(audit_entries.c.serial == bindparam("row")).values(tree_index=bindparam("index"))
)


@dataclass(frozen=True)
class AuditRow:
    """One stored entry: canonical JSON octets, a 32-byte nonce, and its index in the log (None while pending)."""

    serial: int
    entry: bytes
    nonce: bytes
    tree_index: int | None = None


def add(work: Work, rows: Sequence[tuple[bytes, bytes, str]]) -> None:
    """Queue entries, each given as (entry, nonce, exchange id or "")."""
    _ADD.run(
        work, ({"entry": entry, "nonce": nonce, "exchange": exchange, "tree_index": None} for entry, nonce, exchange in rows)
    )


def pending(work: Work, most: int) -> list[AuditRow]:
    """At most `most` entries that have no index yet, oldest first."""
    return [AuditRow(*row) for row in work.execute(_PENDING, {"most": most})]


def count_pending(work: Work) -> int:
    """How many entries have no index yet."""
    return work.execute(select(func.count()).where(audit_entries.c.tree_index.is_(None))).scalar_one()


def place(work: Work, rows: Sequence[AuditRow], first_index: int) -> None:
    """Give consecutive indices to these entries, the first one `first_index`."""
    _PLACE.run(work, ({"row": row.serial, "index": first_index + offset} for offset, row in enumerate(rows)))


def sequenced(work: Work, start: int, end: int) -> Iterator[AuditRow]:
    """The entries with index from `start` until before `end`, in order; as many as there are."""
    columns = audit_entries.c
    rows = work.execute(
        select(columns.serial, columns.entry, columns.nonce, columns.tree_index)
        .where(columns.tree_index >= start, columns.tree_index < end)
        .order_by(columns.tree_index)
    )
    return (AuditRow(*row) for row in rows)


def of_exchange(work: Work, exchange: str) -> list[AuditRow]:
    """Every entry about one exchange, oldest first."""
    columns = audit_entries.c
    rows = work.execute(
        select(columns.serial, columns.entry, columns.nonce, columns.tree_index)
        .where(columns.exchange == exchange)
        .order_by(columns.serial)
    )
    return [AuditRow(*row) for row in rows]
