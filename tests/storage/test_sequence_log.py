import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from hub.crypto import merkle
from hub.crypto.notes import parse_checkpoint, parse_note
from hub.services.read_log import latest_checkpoint, verify_own_checkpoint
from hub.services.sequence_log import sequence_pending
from hub.storage import audit, log
from hub.storage.store import Store, Work
from tests.simulators.exchange import HUB_NAME, START, MovableClock
from tests.storage.logs import grow, hub_over, note_entries


def test_entries_get_their_places_oldest_first_and_without_gaps(store: Store) -> None:
    hub = hub_over(store)
    note_entries(hub, 5)
    assert [sequence_pending(hub, 2) for _ in range(4)] == [2, 2, 1, 0]
    with store.reading() as work:
        rows = list(audit.sequenced(work, 0, 10))
        assert [row.tree_index for row in rows] == [0, 1, 2, 3, 4]
        assert sorted(row.serial for row in rows) == [row.serial for row in rows]
        assert audit.count_pending(work) == 0


def test_the_root_is_that_of_the_leaves_whatever_the_steps_were(store: Store) -> None:
    grow(hub_over(store), 1, 2, 300, 255, 7)
    with store.reading() as work:
        leaves = [merkle.commitment(row.nonce, row.entry) for row in audit.sequenced(work, 0, 565)]
        assert log.state(work) == (565, merkle.append(0, leaves, lambda _level, _number: b"").root)


def test_an_empty_log_has_a_signed_checkpoint_too(store: Store) -> None:
    hub = hub_over(store)
    assert sequence_pending(hub) == 0
    assert latest_checkpoint(hub).startswith(f"{HUB_NAME}\n0\n")


def test_a_checkpoint_is_signed_with_both_keys_over_the_size_and_the_root(store: Store) -> None:
    hub = hub_over(store)
    grow(hub, 3)
    verified = verify_own_checkpoint(hub, latest_checkpoint(hub))
    with store.reading() as work:
        assert (verified.size, verified.root) == log.state(work)


def test_a_checkpoint_that_a_crash_left_unsigned_is_signed_by_the_next_run(store: Store) -> None:
    hub = hub_over(store)
    grow(hub, 3)
    store.write(lambda work: work.exec_driver_sql("DELETE FROM log_checkpoints"))  # as if it died before the second transaction
    assert sequence_pending(hub) == 0
    assert parse_checkpoint(parse_note(latest_checkpoint(hub).encode()).text).size == 3


def test_a_size_is_signed_once(store: Store) -> None:
    hub = hub_over(store)
    grow(hub, 3)
    first = latest_checkpoint(hub)
    sequence_pending(hub)
    store.write(lambda work: log.record_checkpoint(work, 3, "another", START))
    assert latest_checkpoint(hub) == first


def test_the_last_checkpoint_of_each_hour_is_kept(store: Store) -> None:
    clock = MovableClock()
    hub = hub_over(store, clock)
    for minutes in (0, 10, 49, 10, 70):
        clock.advance(minutes=minutes)
        grow(hub, 1)
    with store.reading() as work:
        assert [size for size, _note in log.checkpoints(work)] == [3, 4, 5]


def test_a_transaction_that_fails_leaves_neither_places_nor_tiles(store: Store) -> None:
    hub = hub_over(store)
    note_entries(hub, 2)
    store.write(lambda work: work.exec_driver_sql("UPDATE log_state SET size = 1"))  # a size without its tile
    with pytest.raises(Exception, match="shorter than its size says"):
        sequence_pending(hub)
    with store.reading() as work:
        assert (audit.count_pending(work), log.read_tile(work, 0, 0), log.latest_checkpoint(work)) == (2, b"", None)


def test_two_sequencers_at_once_make_one_log(store: Store, other_store: Store) -> None:
    hubs = [hub_over(store), hub_over(other_store)]
    note_entries(hubs[0], 200)
    start = threading.Barrier(4)

    def run(worker: int) -> int:
        hub = hubs[worker % 2]
        start.wait()
        placed = 0
        for _ in range(200):
            placed += sequence_pending(hub, 7)
            with hub.store.reading() as work:
                if audit.count_pending(work) == 0:
                    break
        return placed

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == 200
    sequence_pending(hubs[0])
    with store.reading() as work:
        rows = list(audit.sequenced(work, 0, 200))
        assert [row.tree_index for row in rows] == list(range(200))
        leaves = [merkle.commitment(row.nonce, row.entry) for row in rows]
        assert log.state(work)[1] == merkle.append(0, leaves, lambda _level, _number: b"").root
    assert verify_own_checkpoint(hubs[0], latest_checkpoint(hubs[0])).size == 200


def test_entries_wait_while_another_node_works_on_the_log(store: Store, other_store: Store) -> None:
    """PostgreSQL: the lock elects. SQLite: the other one's writing transaction keeps us out until it ends."""
    hub = hub_over(store)
    note_entries(hub, 3)
    leading, finish = threading.Event(), threading.Event()

    def lead(work: Work) -> bool:
        led = log.lead(work)
        leading.set()
        finish.wait(10)
        return led

    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(other_store.write, lead)
        assert leading.wait(10)
        if store.engine.dialect.name == "postgresql":
            assert sequence_pending(hub) == 0
            finish.set()
        ours = pool.submit(sequence_pending, hub)
        finish.set()
        assert other.result() is True
        assert ours.result() in (0, 3)
    assert sequence_pending(hub) + ours.result() == 3


def test_the_signed_time_of_a_checkpoint_is_the_hubs(store: Store) -> None:
    clock = MovableClock(START + timedelta(hours=5))
    hub = hub_over(store, clock)
    sequence_pending(hub)
    rows = store.write(lambda work: work.exec_driver_sql("SELECT signed_at FROM log_checkpoints").all())
    assert rows == [(int(clock.now().timestamp()) * 1_000_000,)]
