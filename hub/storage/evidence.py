"""What the verification of a store reads: in pages, and for many exchanges at once, never a message's content with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select, union_all

from hub.domain.receipts import Receipt, ReceiptEvent
from hub.storage.store import Work
from hub.storage.tables import audit_entries, deliveries, messages, receipts, releases

_RECEIPT_COLUMNS = tuple(column for column in receipts.c if column.name != "serial")


@dataclass(frozen=True)
class Outline:
    """An accepted message without its content. `digest` is base64url SHA-256 of what was signed."""

    exchange: str
    digest: str


def count_messages(work: Work) -> int:
    """How many messages there are."""
    count: int = work.execute(select(func.count()).select_from(messages)).scalar_one()
    return count


def outlines(work: Work, after: str, most: int) -> list[Outline]:
    """At most `most` messages in order of their exchange ids, after the one named ("" for the first)."""
    columns = messages.c
    rows = work.execute(
        select(columns.exchange, columns.digest).where(columns.exchange > after).order_by(columns.exchange).limit(most)
    )
    return [Outline(*row) for row in rows]


def digests_of(work: Work, exchanges: Collection[str]) -> dict[str, str]:
    """The digests of those of these messages that are stored, by exchange."""
    columns = messages.c
    rows = work.execute(select(columns.exchange, columns.digest).where(columns.exchange.in_(exchanges)))
    return {row.exchange: row.digest for row in rows}


def entries_of(work: Work, exchanges: Collection[str]) -> list[bytes]:
    """The audit entries about these exchanges."""
    return list(work.execute(select(audit_entries.c.entry).where(audit_entries.c.exchange.in_(exchanges))).scalars())


def recipients_of(work: Work, exchanges: Collection[str]) -> dict[str, list[str]]:
    """To whom there are deliveries, sorted, by exchange."""
    columns = deliveries.c
    found: dict[str, list[str]] = defaultdict(list)
    rows = select(columns.exchange, columns.recipient).where(columns.exchange.in_(exchanges)).order_by(columns.recipient)
    for row in work.execute(rows):
        found[row.exchange].append(row.recipient)
    return found


def receipts_of(work: Work, exchanges: Collection[str]) -> dict[str, list[Receipt]]:
    """The receipts of these exchanges, by exchange."""
    found: dict[str, list[Receipt]] = defaultdict(list)
    for row in work.execute(select(*_RECEIPT_COLUMNS).where(receipts.c.exchange.in_(exchanges))):
        found[row.exchange].append(Receipt(**{**row._mapping, "event": ReceiptEvent(row.event)}))
    return found


def stored_receipts(work: Work, digests: Collection[str]) -> set[tuple[str, str]]:
    """Which of these receipts are stored, as (exchange, digest)."""
    columns = receipts.c
    rows = work.execute(select(columns.exchange, columns.digest).where(columns.digest.in_(digests)))
    return {(row.exchange, row.digest) for row in rows}


def orphans(work: Work, most: int) -> list[str]:
    """At most `most` deliveries, releases and receipts whose message or delivery is not stored, each as its kind and id."""
    stored = select(messages.c.exchange)
    rows = work.execute(
        union_all(
            select(deliveries.c.id, deliveries.c.exchange).where(deliveries.c.exchange.not_in(stored)),
            select(releases.c.delivery, releases.c.digest).where(releases.c.delivery.not_in(select(deliveries.c.id))),
            select(receipts.c.digest, receipts.c.exchange).where(receipts.c.exchange.not_in(stored)),
        ).limit(most)
    )
    return [f"{row[0]} of {row[1]}" for row in rows]


def places_beyond(work: Work, size: int, most: int) -> list[int]:
    """At most `most` places of entries at or past the log's size, ascending."""
    column = audit_entries.c.tree_index
    return list(work.execute(select(column).where(column >= size).order_by(column).limit(most)).scalars())
