"""Units are durable, alone in their effect, and committed together; two nodes that cross do not fail."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError, OperationalError

from hub.storage import access, audit, deliveries, messages, registry
from hub.storage.store import MAX_KEPT_CONNECTIONS, MAX_UNITS_PER_COMMIT, Store, Work
from tests.simulators.exchange import START
from tests.storage.rows import LATER, delivery, message, queue

THREADS = 16
UNITS = 20
SECONDS = 30


class BrokenUnitError(Exception):
    pass


def add_entry(work: Work, name: str) -> None:
    audit.add(work, [(b"{}", b"\x00" * 32, name)])


def adding(name: str) -> Callable[[Work], str]:
    """A unit that adds an entry under this name and returns the name."""

    def unit(work: Work) -> str:
        add_entry(work, name)
        return name

    return unit


def test_the_files_of_a_new_database_are_their_owners_alone(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/new.sqlite")
    with store.reading() as work:
        work.exec_driver_sql("CREATE TABLE one (n)")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    store.close()
    assert modes == dict.fromkeys(("new.sqlite", "new.sqlite-wal", "new.sqlite-shm"), 0o600)


def test_opening_another_connection_keeps_the_locks_of_those_that_are_open(tmp_path: Path) -> None:
    """Without them another process that closes the file takes itself for the last one, and removes the write-ahead log."""
    file = tmp_path / "locked.sqlite"
    store, other = Store(f"sqlite:///{file}"), Store(f"sqlite:///{file}")
    with store.reading() as work:
        work.exec_driver_sql("SELECT * FROM sqlite_master")
        with other.reading():
            pass
        script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM sqlite_master'); c.close()"
        subprocess.run([sys.executable, "-c", script, file], check=True)
        log_is_there = file.with_name("locked.sqlite-wal").exists()
    other.close()
    store.close()
    assert log_is_there


def names(store: Store) -> list[str]:
    with store.reading() as work:
        return list(work.execute(text("SELECT exchange FROM audit_entries ORDER BY exchange")).scalars())


def commits(store: Store) -> list[object]:
    seen: list[object] = []
    event.listen(store.engine, "commit", seen.append)
    return seen


def run_together(count: int, task: Callable[[int], Any]) -> list[Any]:
    """Run a task on so many threads that all start at once."""
    start = threading.Barrier(count)

    def run(number: int) -> Any:
        start.wait(SECONDS)
        return task(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_each_unit_of_many_threads_is_kept_exactly_once(store: Store) -> None:
    def write(thread: int) -> None:
        for number in range(UNITS):
            store.write(adding(f"{thread:02}-{number:02}"))

    run_together(THREADS, write)
    assert names(store) == [f"{thread:02}-{number:02}" for thread in range(THREADS) for number in range(UNITS)]


def test_a_unit_that_fails_takes_nothing_of_the_others_with_it(store: Store) -> None:
    def write(thread: int) -> None:
        def broken(work: Work) -> None:
            add_entry(work, f"broken {thread}")
            raise BrokenUnitError(thread)

        for number in range(UNITS):
            store.write(adding(f"{thread:02}-{number:02}"))
            with pytest.raises(BrokenUnitError) as caught:
                store.write(broken)
            assert caught.value.args == (thread,)  # each caller gets its own unit's error

    run_together(THREADS, write)
    assert names(store) == [f"{thread:02}-{number:02}" for thread in range(THREADS) for number in range(UNITS)]


def test_a_unit_that_breaks_a_constraint_leaves_its_group_usable(store: Store) -> None:
    def write(thread: int) -> bool:
        def unit(work: Work) -> None:
            add_entry(work, f"{thread:02}")
            if thread % 2:
                work.execute(text("UPDATE log_state SET root = NULL"))

        try:
            store.write(unit)
        except IntegrityError:
            return False
        return True

    assert run_together(THREADS, write) == [True, False] * (THREADS // 2)
    assert names(store) == [f"{thread:02}" for thread in range(0, THREADS, 2)]


def queued_behind(store: Store, count: int) -> Callable[[Work], None]:
    """A unit that stays in its transaction until so many others have queued up behind it."""

    def unit(_work: Work) -> None:
        waited = threading.Event()
        for _ in range(SECONDS * 1000):
            if len(store._queue) >= count:
                return
            waited.wait(0.001)
        raise TimeoutError

    return unit


def test_units_that_queued_meanwhile_share_one_commit(store: Store) -> None:
    seen = commits(store)
    with ThreadPoolExecutor(THREADS) as pool:
        first = pool.submit(store.write, queued_behind(store, THREADS - 1))
        others = [pool.submit(store.write, adding(str(n))) for n in range(THREADS - 1)]
        first.result(SECONDS)
        for one in others:
            one.result(SECONDS)
    assert len(names(store)) == THREADS - 1
    assert len(seen) == 2


def test_a_group_has_a_limit(store: Store) -> None:
    count = MAX_UNITS_PER_COMMIT + 1
    seen = commits(store)
    with ThreadPoolExecutor(count + 1) as pool:
        first = pool.submit(store.write, queued_behind(store, count))
        others = [pool.submit(store.write, adding(str(n))) for n in range(count)]
        first.result(SECONDS)
        for one in others:
            one.result(SECONDS)
    assert len(names(store)) == count
    assert len(seen) == 3


def test_a_commit_that_fails_fails_every_unit_of_its_group_and_keeps_none(store: Store) -> None:
    def refuse(_connection: object) -> None:
        raise BrokenUnitError

    event.listen(store.engine, "commit", refuse)
    with pytest.raises(BrokenUnitError):
        store.write(adding("lost"))
    event.remove(store.engine, "commit", refuse)
    assert names(store) == []
    store.write(adding("kept"))
    assert names(store) == ["kept"]


def test_what_a_unit_returns_comes_back_after_the_commit(store: Store, other_store: Store) -> None:
    assert store.write(adding("one")) == "one"
    assert names(other_store) == ["one"]


def test_a_reader_sees_one_state_throughout(store: Store, other_store: Store) -> None:
    with store.reading() as work:
        before = audit.count_pending(work)
        other_store.write(adding("one"))
        assert (before, audit.count_pending(work)) == (0, 0)
    with store.reading() as work:
        assert audit.count_pending(work) == 1


def test_what_is_written_while_reading_is_rolled_back(store: Store) -> None:
    with store.reading() as work:
        add_entry(work, "one")
    assert names(store) == []


def test_of_fifty_claims_to_one_message_id_one_wins(store: Store, other_store: Store) -> None:
    stores = (store, other_store)

    def claim(number: int) -> bool:
        row = message(f"x{number:02}", message_id="the same")
        try:
            stores[number % 2].write(lambda work: messages.add(work, row))
        except messages.IdTakenError:
            return False
        return True

    outcomes = run_together(50, claim)
    assert sorted(outcomes) == [False] * 49 + [True]
    with store.reading() as work:
        claim_row = messages.find_claim(work, "tw.npa", "the same")
    assert claim_row == (f"x{outcomes.index(True):02}", "d" * 43)


def test_of_many_who_use_one_token_id_one_succeeds(store: Store, other_store: Store) -> None:
    stores = (store, other_store)

    def burn(number: int) -> bool:
        try:
            stores[number % 2].write(lambda work: access.burn(work, "issuer", "jti", LATER))
        except access.AlreadyUsedError:
            return False
        return True

    assert sorted(run_together(THREADS, burn)) == [False] * (THREADS - 1) + [True]


def test_positions_of_an_inbox_have_no_gaps_and_become_visible_in_order(store: Store, other_store: Store) -> None:
    stores, finished = (store, other_store), threading.Event()
    store.write(lambda work: messages.add(work, message()))
    pictures: list[list[int]] = []

    def hold(thread: int) -> None:
        for number in range(10):

            def unit(work: Work, name: str = f"{thread}-{number}") -> None:
                position = deliveries.take_positions(work, "jp.npa", 1)
                deliveries.add(work, [delivery(name)])
                deliveries.move(work, delivery(name), delivery().state, position=position)

            stores[thread % 2].write(unit)

    def watch() -> None:
        while not finished.is_set():
            with store.reading() as work:
                pictures.append([one.position for one, _sender, _type in deliveries.inbox(work, "jp.npa", 0, 1000)])

    with ThreadPoolExecutor(1) as pool:
        watcher = pool.submit(watch)
        run_together(8, hold)
        finished.set()
        watcher.result(SECONDS)
    with store.reading() as work:
        pictures.append([one.position for one, _sender, _type in deliveries.inbox(work, "jp.npa", 0, 1000)])
    assert len(pictures[-1]) == 80
    assert [positions for positions in pictures if positions != list(range(1, len(positions) + 1))] == []


def test_a_delivery_is_leased_to_one_of_many_workers(store: Store, other_store: Store) -> None:
    stores = (store, other_store)
    queue(store, *(delivery(f"d{number:02}") for number in range(40)))

    def lease(worker: int) -> list[str]:
        taken: list[str] = []
        while found := stores[worker % 2].write(lambda work: deliveries.lease_due(work, START, LATER, 3)):
            taken += [one.id for one in found]
        return taken

    taken = [one for part in run_together(8, lease) for one in part]
    assert sorted(taken) == [f"d{number:02}" for number in range(40)]


def test_one_of_many_gets_a_lease_that_nobody_has_held(store: Store, other_store: Store) -> None:
    stores = (store, other_store)

    def take(worker: int) -> int | None:
        return stores[worker % 2].write(lambda work: access.take_lease(work, "job", f"worker {worker}", START, LATER))

    assert sorted(fence or 0 for fence in run_together(THREADS, take)) == [0] * (THREADS - 1) + [1]


SEVERAL_WRITERS = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
"""For what only several writers at once can show: on SQLite a writer is alone."""


@SEVERAL_WRITERS
def test_two_nodes_that_lock_the_same_rows_in_another_order_both_succeed(store: Store, other_store: Store) -> None:
    locked = {"left": threading.Event(), "right": threading.Event()}

    def take(own: Store, first: str, second: str) -> tuple[int, int]:
        def unit(work: Work) -> tuple[int, int]:
            position = deliveries.take_positions(work, first, 1)
            locked[first].set()
            assert locked[second].wait(SECONDS)
            return position, deliveries.take_positions(work, second, 1)  # a deadlock, which the database breaks

        return own.write(unit)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(take, store, "left", "right")
        other = pool.submit(take, other_store, "right", "left")
        (left_one, right_one), (right_other, left_other) = one.result(SECONDS), other.result(SECONDS)
    assert sorted((left_one, left_other)) == [1, 2]
    assert sorted((right_one, right_other)) == [1, 2]


@SEVERAL_WRITERS
def test_a_worker_passes_over_what_another_is_just_leasing(store: Store, other_store: Store) -> None:
    queue(store, delivery("d1"), delivery("d2"))

    def lease_both(work: Work) -> list[list[str]]:
        ours = deliveries.lease_due(work, START, LATER, 1)
        theirs = other_store.write(lambda other: deliveries.lease_due(other, START, LATER, 2))
        return [[one.id for one in part] for part in (ours, theirs)]

    assert store.write(lease_both) == [["d1"], ["d2"]]


def suspend(work: Work) -> None:
    registry.record_event(work, registry.EventRow("order", "suspended", START, "tw.npa", "a test"))


@SEVERAL_WRITERS
def test_the_registry_stands_still_while_a_unit_relies_on_it(store: Store, other_store: Store) -> None:
    def change(work: Work) -> None:
        work.execute(text("SET LOCAL lock_timeout = '50ms'"))
        suspend(work)

    def rely(work: Work) -> None:
        registry.require_version(work, 0)
        with pytest.raises(OperationalError, match="lock timeout"):
            other_store.write(change)
        registry.require_version(work, 0)

    store.write(rely)


def test_a_unit_that_relied_on_an_older_registry_is_told(store: Store, other_store: Store) -> None:
    store.write(lambda work: registry.require_version(work, 0))
    other_store.write(suspend)
    with pytest.raises(registry.RegistryMovedError):
        store.write(lambda work: registry.require_version(work, 0))


def test_a_reader_of_an_embedded_store_never_waits_for_the_connection_of_another(tmp_path: Path) -> None:
    many = 2 * MAX_KEPT_CONNECTIONS
    store, everybody_reads = Store(f"sqlite:///{tmp_path}/hub.sqlite"), threading.Barrier(many, timeout=SECONDS)

    def read(_number: int) -> int:
        with store.reading() as work:
            everybody_reads.wait()
            return int(work.execute(text("SELECT 1")).scalar_one())

    with ThreadPoolExecutor(many) as threads:
        assert sum(threads.map(read, range(many))) == many
    store.close()
