"""The process behind `ForkingHub`: for each line that it reads it forks a hub, and prints the id of its process group."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import gunicorn.app.wsgiapp  # type: ignore[import-untyped]  # gunicorn has no types
import gunicorn.workers.gthread  # type: ignore[import-untyped]  # as above

from hub.bootstrap import ROOT, Installation
from hub.cli.operations import ROLES

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2): the worker, whose parent is killed with it, is reaped here


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # reap what ends
    group = 0
    while sys.stdin.readline():
        group = _fork_hub()
        print(group, flush=True)
    if group:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _fork_hub() -> int:
    leader = os.fork()
    if leader:
        return leader
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    if os.fork() == 0:
        _run(lambda: Installation().work(frozenset(ROLES)))
    sys.argv = ["gunicorn", "-c", str(ROOT / "config" / "gunicorn.conf.py")]
    _run(gunicorn.app.wsgiapp.run)
    raise AssertionError("a child does not come back")


def _run(task: Callable[[], None]) -> None:
    """Do a task, and end: here or in what the task forks, with its status, and without coming back to what was copied."""
    status: object = 1
    try:
        task()
        status = 0
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    main()
