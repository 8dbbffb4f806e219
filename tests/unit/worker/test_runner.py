"""The loops of a worker run side by side, outlive a failed round, and end when they are asked to."""

import threading
from collections.abc import Callable
from datetime import timedelta

from structlog.testing import capture_logs

from hub.worker.runner import Loop, run_loop, run_loops

NO_REST = timedelta(0)


def counting(rounds: int, stop: threading.Event) -> tuple[list[int], Callable[[], int]]:
    """A round that counts itself, and asks for the end after so many."""
    done: list[int] = []

    def once() -> int:
        done.append(len(done))
        if len(done) >= rounds:
            stop.set()
        return 1

    return done, once


def test_a_loop_goes_round_until_it_is_asked_to_stop() -> None:
    stop = threading.Event()
    done, once = counting(5, stop)
    run_loop(Loop("busy", once, NO_REST), stop)
    assert len(done) == 5


def test_a_loop_that_is_asked_before_it_begins_does_nothing() -> None:
    stop = threading.Event()
    stop.set()
    done, once = counting(1, stop)
    run_loop(Loop("late", once, NO_REST), stop)
    assert done == []


def test_a_failed_round_is_logged_by_kind_and_reference_without_its_text() -> None:
    stop = threading.Event()

    def fail() -> int:
        stop.set()
        raise ValueError("WANG Hsiao-ming")

    with capture_logs() as logs:
        run_loop(Loop("failing", fail, NO_REST), stop)
    assert [(one["loop"], one["error"], len(one["reference"])) for one in logs] == [("failing", "ValueError", 36)]
    assert "WANG" not in repr(logs)


def test_a_loop_goes_on_after_a_failed_round() -> None:
    stop = _SkippedWaits()
    done: list[int] = []

    def once() -> int:
        done.append(len(done))
        if len(done) == 3:
            stop.set()
        if len(done) < 3:
            raise OSError
        return 1

    with capture_logs():
        run_loop(Loop("mended", once, NO_REST), stop)
    assert (len(done), stop.waits) == (3, [1.0, 2.0])


def test_a_loop_rests_only_where_it_found_nothing_to_do() -> None:
    stop = _SkippedWaits()
    found = [1, 0, 1]

    def once() -> int:
        if len(found) == 1:
            stop.set()
        return found.pop(0)

    run_loop(Loop("resting", once, timedelta(seconds=7)), stop)
    assert stop.waits == [7.0]


class _SkippedWaits(threading.Event):
    """An event that notes how long it was waited for, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0)
        return self.is_set()


def test_all_loops_run_and_all_have_ended_at_the_end() -> None:
    ran = {name: threading.Event() for name in ("one", "two")}
    threads: set[str] = set()

    def round_of(name: str) -> Callable[[], int]:
        def once() -> int:
            threads.add(threading.current_thread().name)
            ran[name].set()
            return 0

        return once

    loops = [Loop(name, round_of(name), timedelta(hours=1)) for name in ran]
    run_loops(loops, lambda: all(event.is_set() for event in ran.values()))
    assert threads == {"one", "two"}
    assert threads & {thread.name for thread in threading.enumerate()} == set()
