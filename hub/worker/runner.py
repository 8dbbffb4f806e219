"""Running the loops of a worker process: a thread for each, a graceful stop, and a back-off where a round failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import structlog

_LOOK_SECONDS = 0.1
_FIRST_BACK_OFF_SECONDS = 1.0
_LONGEST_BACK_OFF_SECONDS = 30.0
_log = structlog.get_logger("hub.worker")


@dataclass(frozen=True)
class Loop:
    """One endless job. `once` does what is due and says how much that was; where it was nothing, the loop rests for `pause`."""

    name: str
    once: Callable[[], int]
    pause: timedelta


def run_loops(loops: Sequence[Loop], is_asked_to_stop: Callable[[], bool]) -> None:
    """Run every loop until a stop is asked for; a round in progress is finished first.

    A round that fails is tried again after 1, 2, 4, ... at most 30 seconds, and the log holds a reference and the kind of error.
    """
    stop = threading.Event()
    threads = [threading.Thread(target=run_loop, args=(loop, stop), name=loop.name) for loop in loops]
    for thread in threads:
        thread.start()
    while not is_asked_to_stop():
        time.sleep(_LOOK_SECONDS)
    stop.set()
    for thread in threads:
        thread.join()


def run_loop(loop: Loop, stop: threading.Event) -> None:
    """Run one loop until `stop` is set."""
    back_off = _FIRST_BACK_OFF_SECONDS
    while not stop.is_set():
        try:
            done = loop.once()
        except Exception as error:  # noqa: BLE001 - a loop must outlive whatever one round met
            _log.error("round failed", loop=loop.name, error=type(error).__name__, reference=str(uuid4()), retry_in=back_off)
            stop.wait(back_off)
            back_off = min(back_off * 2, _LONGEST_BACK_OFF_SECONDS)
        else:
            back_off = _FIRST_BACK_OFF_SECONDS
            if not done:
                stop.wait(loop.pause.total_seconds())
