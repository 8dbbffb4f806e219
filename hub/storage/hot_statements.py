"""Statements of the hot path: compiled once for each kind of database, then handed straight to its driver.

SQLAlchemy compiles them, so there is one text for every database; what is left out is its machinery around each execution, which
costs several times what SQLite does. Only for plain values: instants go in as `hub.storage.tables.Instant` stores them, and rows
come out as the driver gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Executable, Table
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.sql import Insert, insert

from hub.storage.tables import microseconds


class HotStatement:
    """One statement with named parameters."""

    def __init__(self, statement: Executable, column_keys: Sequence[str] | None = None) -> None:
        self._statement: Any = statement
        self._column_keys = column_keys
        self._forms: dict[str, tuple[str, Callable[[Mapping[str, object]], object]]] = {}

    def first(self, work: Connection, **values: object) -> Any:
        """The first row as a tuple, or None."""
        return self._run(work, [values]).fetchone()

    def count(self, work: Connection, **values: object) -> int:
        """Execute once; how many rows it changed."""
        changed: int = self._run(work, [values]).rowcount
        return changed

    def run(self, work: Connection, rows: Iterable[Mapping[str, object]]) -> None:
        """Execute once for each row.

        Raises:
            IntegrityError: a constraint stands against one of them.
        """
        self._run(work, rows)

    def _run(self, work: Connection, rows: Iterable[Mapping[str, object]]) -> Any:
        form = self._forms.get(work.dialect.name)
        if form is None:
            form = self._forms[work.dialect.name] = self._compile(work)
        text, arrange = form
        connection: Any = work.connection.driver_connection
        cursor = None
        try:
            for values in rows:
                cursor = connection.execute(text, arrange(values))
        except work.dialect.loaded_dbapi.IntegrityError as error:
            raise IntegrityError(None, None, error) from error
        except work.dialect.loaded_dbapi.Error as error:
            raise DBAPIError(None, None, error) from error
        return cursor

    def _compile(self, work: Connection) -> tuple[str, Callable[[Mapping[str, object]], object]]:
        compiled = self._statement.compile(dialect=work.dialect, column_keys=self._column_keys)
        fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        if compiled.positional:
            names = list(compiled.positiontup)
            return str(compiled), lambda values: [_plain(fixed[name] if name in fixed else values[name]) for name in names]
        names = list(compiled.binds)
        return str(compiled), lambda values: {name: _plain(fixed[name] if name in fixed else values[name]) for name in names}


def hot_insert(table: Table, leave_out: str = "") -> HotStatement:
    """An INSERT of every column of a table, but for one that the database numbers itself."""
    statement: Insert = insert(table).inline()
    return HotStatement(statement, [column.name for column in table.columns if column.name != leave_out])


def _plain(value: object) -> object:
    return microseconds(value) if isinstance(value, datetime) else value
