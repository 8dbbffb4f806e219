"""One command, several processes: started together, started again when one dies, stopped together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import structlog

_LOOK_SECONDS = 0.2
_RESTART_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1  # prctl(2)
_log = structlog.get_logger("hub.supervisor")


@dataclass
class _Child:
    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    start_after: float = field(default_factory=time.monotonic)


def supervise(
    commands: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
    is_asked_to_stop: Callable[[], bool],
    *,
    stop_within: timedelta,
    changing: Path,
) -> None:
    """Keep one process of each command running until a stop is asked for; then end them all and wait for them.

    A process that ends by itself is started again after a second. Must run in the main thread: a child may end with the thread
    that started it.

    Args:
        commands: name to argument vector.
        environment: of the children.
        is_asked_to_stop: is looked at several times a second.
        stop_within: how long the children may take to end before they are killed.
        changing: a file; each time it changes the children get SIGHUP, and read anew what they read at their start.
    """
    children = [_Child(name, command) for name, command in commands.items()]
    seen = _version_of(changing)
    try:
        while not is_asked_to_stop():
            for child in children:
                _keep_running(child, environment)
            if seen != (seen := _version_of(changing)):
                _signal(children, signal.SIGHUP)
            time.sleep(_LOOK_SECONDS)
    finally:
        _end(children, stop_within.total_seconds())


def _version_of(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except FileNotFoundError:  # between two versions, or gone: seen as a change when it is back
        return 0, 0
    return status.st_mtime_ns, status.st_ino


def _signal(children: Sequence[_Child], number: signal.Signals) -> None:
    for child in children:
        if child.process is not None and child.process.poll() is None:
            child.process.send_signal(number)


def _keep_running(child: _Child, environment: Mapping[str, str]) -> None:
    if child.process is not None:
        status = child.process.poll()
        if status is None:
            return
        note = _log.error if status else _log.info  # it ends with 0 to read changed keys, and with anything else by mishap
        note("process ended", process=child.name, status=status)
        child.process, child.start_after = None, time.monotonic() + _RESTART_SECONDS
    if time.monotonic() >= child.start_after:
        child.process = subprocess.Popen(child.command, env=dict(environment))  # noqa: S603 - our own commands, no shell
        _log.info("process started", process=child.name, pid=child.process.pid)


def _end(children: Sequence[_Child], within_seconds: float) -> None:
    running = [child.process for child in children if child.process is not None]
    for process in running:
        process.terminate()
    last = time.monotonic() + within_seconds
    for process in running:
        try:
            process.wait(max(0.0, last - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class StopRequest:
    """Whether SIGTERM, SIGINT or SIGHUP has come. The handler only takes a note: it may run in the middle of anything."""

    def __init__(self) -> None:
        self._asked = False

    def listen(self) -> StopRequest:
        """Take the signals over, in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)
        return self

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked

    def _note(self, _number: int, _frame: object) -> None:
        self._asked = True


def end_with(supervisor: int | None) -> None:
    """Ask the kernel to end this process when `supervisor`, which started it, ends, however that ends. Linux only."""
    if supervisor is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:  # it ended before the kernel was asked
        os.kill(os.getpid(), signal.SIGTERM)
