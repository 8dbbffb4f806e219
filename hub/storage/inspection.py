"""What `hub doctor` asks of the store: how durable it is set, what waits, and how old the newest things are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from hub.storage.store import Store, Work
from hub.storage.tables import audit_entries, log_checkpoints

_SQLITE_DURABLE = {"journal_mode": "wal", "synchronous": "2"}  # 2 is FULL
_POSTGRESQL_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@dataclass(frozen=True)
class DatabaseFacts:
    """`unsafe` maps each setting that endangers what was committed to its value. `folder` holds an SQLite database, else None."""

    kind: str
    unsafe: Mapping[str, str]
    folder: Path | None


def database_facts(store: Store) -> DatabaseFacts:
    """Ask the database how it is set."""
    kind = store.engine.dialect.name
    is_sqlite = kind == "sqlite"
    wanted = _SQLITE_DURABLE if is_sqlite else _POSTGRESQL_DURABLE
    with store.reading() as work:
        ask = "PRAGMA {}" if is_sqlite else "SHOW {}"
        found = {name: str(work.exec_driver_sql(ask.format(name)).scalar_one()) for name in wanted}
    path = store.engine.url.database if is_sqlite else None
    unsafe = {name: value for name, value in found.items() if value != wanted[name]}
    return DatabaseFacts(kind, unsafe, Path(path).parent if path else None)


def newest_entry(work: Work) -> bytes | None:
    """The audit entry that was written last."""
    return work.execute(select(audit_entries.c.entry).order_by(audit_entries.c.serial.desc()).limit(1)).scalar_one_or_none()


def checkpoint_time(work: Work) -> datetime | None:
    """When the newest checkpoint was signed."""
    columns = log_checkpoints.c
    return work.execute(select(columns.signed_at).order_by(columns.size.desc()).limit(1)).scalar_one_or_none()
