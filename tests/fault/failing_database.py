"""A database connection that breaks at the n-th statement: before the statement has its effect, or after."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import event

from hub.storage.store import Store


class Moment(Enum):
    """When the connection breaks: the second leaves a caller in doubt about a commit that went through."""

    BEFORE = "before its effect"
    AFTER = "after its effect"


@dataclass
class BreakingPoint:
    """The `at`-th statement from now on fails, and every later one with it, as on a connection that is gone; 0: none does."""

    at: int = 0
    moment: Moment = Moment.BEFORE
    seen: int = 0

    @contextmanager
    def statement(self) -> Iterator[None]:
        """Around one statement."""
        self.seen += 1
        if self.at and (self.seen > self.at or (self.seen == self.at and self.moment is Moment.BEFORE)):
            raise sqlite3.OperationalError("broken by the test")
        yield
        if self.seen == self.at:
            raise sqlite3.OperationalError("broken by the test")

    @property
    def was_reached(self) -> bool:
        """Whether it failed."""
        return 0 < self.at <= self.seen


def break_at(store: Store, point: BreakingPoint) -> None:
    """Let every connection that the store opens from now on break there. What it has open is closed."""

    class Breaking(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            with point.statement():
                return super().execute(*arguments)

        def cursor(self, *_arguments: Any) -> Any:
            return super().cursor(BreakingCursor)

        def commit(self) -> None:
            with point.statement():
                super().commit()

    class BreakingCursor(sqlite3.Cursor):
        def execute(self, *arguments: Any) -> Any:
            with point.statement():
                return super().execute(*arguments)

        def executemany(self, *arguments: Any) -> Any:
            with point.statement():
                return super().executemany(*arguments)

    @event.listens_for(store.engine, "do_connect")
    def _connect(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> None:
        parameters["factory"] = Breaking

    store.close()
