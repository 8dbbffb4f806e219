"""The store: reading transactions, and writing transactions that are committed in groups.

Durable commits are dear (an fsync each), so concurrent callers share them: each submits one unit, a function that writes in a
savepoint of its own. Whoever holds the lock commits for everybody who queued meanwhile; a caller is answered after the commit
that holds its unit. A unit that fails takes nothing of the others with it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine

from hub.domain.refusals import OverloadedFault
from hub.storage.database import free_bytes, has_given_way, is_overload, open_engine

T = TypeVar("T")

Work = Connection
"""What a repository function works with: one open transaction. Services pass it on and never look inside."""

MAX_UNITS_PER_COMMIT = 64
MAX_TRIES = 5
MAX_KEPT_CONNECTIONS = 24


@dataclass
class _Submission(Generic[T]):
    unit: Callable[[Work], T]
    done: bool = False
    result: list[T] = field(default_factory=list)
    error: BaseException | None = None


class Store:
    """One database, shared by all threads of a process. Create it after forking, close it at the end."""

    def __init__(self, url: str) -> None:
        self.engine: Engine = open_engine(url)
        if self.engine.dialect.name == "postgresql":
            self._readers = _Connections(self.engine.execution_options(isolation_level="REPEATABLE READ"), keeps=False)
        else:
            self._readers = _Connections(self.engine, keeps=True)
        self._writers = _Connections(self.engine.execution_options(writes=True), keeps=self._readers.keeps)
        self._queue: deque[_Submission[Any]] = deque()
        self._commit_lock = threading.Lock()

    def close(self) -> None:
        """Close every connection."""
        self._readers.close()
        self._writers.close()
        self.engine.dispose()

    def free_bytes(self) -> int | None:
        """Bytes free where the database's file stands; None where it is no file of this machine."""
        return free_bytes(self.engine)

    @contextmanager
    def reading(self) -> Iterator[Work]:
        """One consistent view of the store; anything written in it is rolled back.

        Raises:
            OverloadedFault: the database has no connection left, or stays locked.
        """
        with _as_faults(), self._readers.lend() as work:
            transaction = work.begin()
            yield work
            transaction.rollback()

    def write(self, unit: Callable[[Work], T]) -> T:
        """Run one unit durably: returns its result after the commit, or raises what it raised with nothing of it kept.

        A unit must have no effect outside its transaction, and must not call `write` itself. It is run again where another
        node's transaction crossed it (two groups that lock the same rows in another order).

        Raises:
            OverloadedFault: the database has no room or no connection left, or stays locked.
        """
        submission = self._submit(unit)
        for _ in range(MAX_TRIES - 1):
            if submission.error is None or not has_given_way(submission.error):
                break
            submission = self._submit(unit)
        if submission.error is not None:
            with _as_faults():
                raise submission.error
        return submission.result[0]

    def _submit(self, unit: Callable[[Work], T]) -> _Submission[T]:
        submission = _Submission(unit)
        self._queue.append(submission)
        with self._commit_lock:
            while not submission.done:
                self._commit_next_group()
        return submission

    def _commit_next_group(self) -> None:
        group = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_UNITS_PER_COMMIT))]
        try:
            with self._writers.lend() as work, work.begin():
                for submission in group:
                    _run_unit(work, submission)
        except BaseException as error:  # the commit itself failed, so nobody's unit is kept
            for submission in group:
                submission.result.clear()
                submission.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            for submission in group:
                submission.done = True


class _Connections:
    """Connections to one database. SQLite's are kept open between uses: opening one costs more than most reads.

    A server's may have gone stale meanwhile, so they come from the engine's pool, which checks them.
    """

    def __init__(self, engine: Engine, *, keeps: bool) -> None:
        self.keeps = keeps
        self._engine = engine
        self._idle: deque[Connection] = deque()

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """One connection for one transaction. After an error it is closed, whatever state it is in."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._engine.connect()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if self.keeps and len(self._idle) < MAX_KEPT_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the idle ones."""
        while self._idle:
            self._idle.pop().close()


@contextmanager
def _as_faults() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if is_overload(error):
            raise OverloadedFault("the database has no room or no connection left, or is locked; try again later") from error
        raise


def _run_unit(work: Work, submission: _Submission[Any]) -> None:
    driver: Any = work.connection.driver_connection
    driver.execute("SAVEPOINT unit")
    try:
        submission.result.append(submission.unit(work))
    except Exception as error:  # noqa: BLE001 - whatever a unit raises is its caller's
        submission.error = error
        try:
            driver.execute("ROLLBACK TO SAVEPOINT unit")
        except work.dialect.loaded_dbapi.Error:
            raise error from None  # the database gave the whole transaction up: for want of room, or because it is gone
    driver.execute("RELEASE SAVEPOINT unit")
