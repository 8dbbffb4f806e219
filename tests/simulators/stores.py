"""Stores that something happens to: a change just before a commit, a write that fails, a second node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from hub.services.hub import Hub
from hub.services.registry_reader import RegistryReader
from hub.storage.store import Store, Work
from tests.simulators.exchange import Exchange

T = TypeVar("T")


class StoreThatMoves(Store):
    """A store in which something else is committed just before the first unit of this caller."""

    def __init__(self, store: Store, something_else: Callable[[], object]) -> None:
        self.__dict__.update(store.__dict__)
        self._before = [something_else]

    def write(self, unit: Callable[[Work], T]) -> T:
        """Let the other thing happen, once; then write."""
        while self._before:
            self._before.pop()()
        return super().write(unit)


@contextmanager
def other_node(exchange: Exchange) -> Iterator[Hub]:
    """Another process's hub on the same database."""
    node = replace(exchange.hub, store=Store(exchange.url), registry=RegistryReader())
    yield node
    node.store.close()


def forbid_inserts(exchange: Exchange, table: str) -> None:
    """Let every insert into a table fail with an error that says no_more_rows."""
    if exchange.hub.store.engine.dialect.name == "sqlite":
        statements = [f"CREATE TRIGGER forbid BEFORE INSERT ON {table} BEGIN SELECT no_more_rows(); END"]
    else:
        statements = [
            "CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no_more_rows'; END $$",
            f"CREATE TRIGGER forbid BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION forbid()",
        ]
    exchange.hub.store.write(lambda work: [work.exec_driver_sql(statement) for statement in statements])


def allow_inserts(exchange: Exchange, table: str) -> None:
    """Undo `forbid_inserts`."""
    on = "" if exchange.hub.store.engine.dialect.name == "sqlite" else f" ON {table}"
    exchange.hub.store.write(lambda work: work.exec_driver_sql(f"DROP TRIGGER forbid{on}"))
