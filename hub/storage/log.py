"""The Merkle log's tiles, its size and root, and the checkpoints that were signed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update

from hub.storage.store import Work
from hub.storage.tables import insert_new, log_checkpoints, log_state, log_tiles

_STATE = select(log_state.c.size, log_state.c.root).where(log_state.c.id == 1)
_KEEP_CHECKPOINT = insert_new(log_checkpoints)
_SEQUENCER = 0x4C4F47  # the advisory lock of whoever extends the log


class LogMovedError(Exception):
    """Another sequencer extended the log first; nothing of this one's work is kept."""


def state(work: Work) -> tuple[int, bytes]:
    """The number of leaves and the root over them (32 bytes)."""
    size, root = work.execute(_STATE).one()
    return size, root


def lead(work: Work) -> bool:
    """Whether this writing transaction is the one that works on the log now; if so it is until it ends.

    Elects a leader at once and anew for each transaction, so that nothing is left behind by one that dies. On SQLite a writing
    transaction is alone in any case. What keeps two leaders from forking the log is `extend`, not this.
    """
    if work.dialect.name != "postgresql":
        return True
    return bool(work.exec_driver_sql("SELECT pg_try_advisory_xact_lock(%s)", (_SEQUENCER,)).scalar_one())


def extend(work: Work, old_size: int, new_size: int, root: bytes) -> None:
    """Compare-and-swap the log's size: only the one who saw `old_size` extends it.

    Raises:
        LogMovedError: the size is not `old_size` any more.
    """
    swapped = work.execute(
        update(log_state).where(log_state.c.id == 1, log_state.c.size == old_size).values(size=new_size, root=root)
    )
    if swapped.rowcount != 1:
        raise LogMovedError


def read_tile(work: Work, level: int, number: int) -> bytes:
    """The hashes of one tile, 32 bytes each and at most 256 of them; empty where there is none."""
    columns = log_tiles.c
    hashes = work.execute(select(columns.hashes).where(columns.level == level, columns.number == number)).scalar_one_or_none()
    return hashes or b""


def write_tiles(work: Work, tiles: Mapping[tuple[int, int], bytes]) -> None:
    """Store tiles by (level, number), replacing their shorter forms."""
    columns = log_tiles.c
    for (level, number), hashes in tiles.items():
        changed = work.execute(update(log_tiles).where(columns.level == level, columns.number == number).values(hashes=hashes))
        if changed.rowcount == 0:
            work.execute(insert(log_tiles).values(level=level, number=number, hashes=hashes))


def latest_checkpoint(work: Work) -> tuple[int, str] | None:
    """The newest signed checkpoint as (size, note), or None before the first."""
    columns = log_checkpoints.c
    row = work.execute(select(columns.size, columns.note).order_by(columns.size.desc()).limit(1)).first()
    return (row.size, row.note) if row else None


def record_checkpoint(work: Work, size: int, note: str, now: datetime) -> None:
    """Keep a signed checkpoint; one that is there for this size stands.

    Of each hour the last one stays. A busy log signs two a second, which would be 600 MB a day; any of them can be compared with
    the tree again without being kept here.
    """
    columns = log_checkpoints.c
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    work.execute(delete(log_checkpoints).where(columns.size < size, columns.signed_at >= this_hour))
    work.execute(_KEEP_CHECKPOINT, {"size": size, "note": note, "signed_at": now})


def checkpoints(work: Work) -> list[tuple[int, str]]:
    """Every checkpoint that is kept, as (size, note), ascending."""
    columns = log_checkpoints.c
    return [(row.size, row.note) for row in work.execute(select(columns.size, columns.note).order_by(columns.size))]


def last_tiles(work: Work) -> dict[int, int]:
    """The highest tile number of each level that has tiles."""
    columns = log_tiles.c
    rows = work.execute(select(columns.level, func.max(columns.number)).group_by(columns.level))
    return {row[0]: row[1] for row in rows}
