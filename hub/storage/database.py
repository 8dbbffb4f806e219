"""Opening the database: SQLite with full durability, or PostgreSQL. The only place that knows which of the two it is."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionLeftError
from sqlalchemy.pool import NullPool

SQLITE_BUSY_TIMEOUT_MS = 20_000
"""How long a transaction waits for another process's: less than a partner waits for its answer."""

POOL_SIZE = 24
_SWITCH_PAUSE_SECONDS = 0.01
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_NO_RESOURCES = "53"  # SQLSTATE class: disk full, out of memory, too many connections
_GIVEN_WAY = frozenset({"40001", "40P01"})  # SQLSTATE: serialisation failure, deadlock detected


def open_engine(url: str) -> Engine:
    """Open the database that `url` names: `sqlite:///path` or `postgresql+psycopg://...`.

    Raises:
        ValueError: another kind of database.
        RuntimeError: PostgreSQL without its driver.
    """
    kind = make_url(url).get_backend_name()
    if kind == "sqlite":
        return _open_sqlite(url)
    if kind == "postgresql":
        return _open_postgresql(url)
    raise ValueError(f"a {kind} database is not supported")


def _open_sqlite(url: str) -> Engine:
    engine = create_engine(
        url,
        poolclass=NullPool,  # the store keeps its own open, and a reader never waits for another one's connection
        hide_parameters=True,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_MS / 1000},
    )

    @event.listens_for(engine, "do_connect")
    def _keep_to_owner(_dialect: object, _record: object, _arguments: object, _options: object) -> None:
        with suppress(OSError):  # SQLite says better what is wrong; the files that it puts beside take this one's mode
            _create_for_owner(Path(engine.url.database or ""))

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun by _begin below, not by the driver
        _switch_to_wal(connection)
        for pragma in (
            "synchronous=FULL",  # in WAL mode NORMAL does not fsync at commit: not durable
            "foreign_keys=ON",
            f"busy_timeout={SQLITE_BUSY_TIMEOUT_MS}",
            "journal_size_limit=67108864",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        driver: Any = connection.connection.driver_connection
        driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _create_for_owner(path: Path) -> None:
    """Make an empty file of mode 0600 where there is none.

    A file that SQLite may have open is never opened here: closing it would drop every lock that this process holds on it
    (POSIX advisory locks), and commits would be lost. So the new file is closed before it has its name.
    """
    if path.exists():
        return
    descriptor, draft = tempfile.mkstemp(dir=path.parent)
    os.close(descriptor)
    try:
        os.link(draft, path)
    finally:
        Path(draft).unlink()


def _switch_to_wal(connection: Any) -> None:
    """Set the journal mode, which stays with the file. Unlike all else this does not wait where others open a new file too."""
    deadline = time.monotonic() + SQLITE_BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if _sqlite_code(error) not in _BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_SWITCH_PAUSE_SECONDS)
        else:
            return


def _open_postgresql(url: str) -> Engine:
    try:
        import psycopg  # noqa: F401, PLC0415 - only to say plainly what is missing
    except ImportError as error:
        raise RuntimeError("install accord-hub[postgres]") from error
    return create_engine(url, pool_size=POOL_SIZE, hide_parameters=True, pool_pre_ping=True)


def free_bytes(engine: Engine) -> int | None:
    """Bytes free where the database's file stands; None where the database is no file of this machine."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    return shutil.disk_usage(Path(engine.url.database).parent).free


def has_given_way(error: BaseException) -> bool:
    """Whether PostgreSQL broke off a transaction in favour of a concurrent one, so that doing the same again may succeed."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _GIVEN_WAY


def is_overload(error: BaseException) -> bool:
    """Whether the database has no room or no connection left, or stayed locked: nothing of the transaction was kept."""
    cause = (isinstance(error, DBAPIError) and error.orig) or error
    if _sqlite_code(cause) in _BUSY | {sqlite3.SQLITE_FULL} or isinstance(cause, NoConnectionLeftError):
        return True
    return (getattr(cause, "sqlstate", None) or "").startswith(_NO_RESOURCES)


def _sqlite_code(error: BaseException) -> int:
    """SQLite's primary result code, 0 where it is none of SQLite's errors."""
    extended: int = getattr(error, "sqlite_errorcode", 0)
    return extended & 0xFF
