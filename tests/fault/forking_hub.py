"""A packaged hub that starts quickly, for tests that kill it often: what is costly, its imports, is done once.

A process keeps the hub's modules loaded and forks, each time it is asked, gunicorn with the real application and the real worker
into a process group of their own. What runs there is what `hub serve` runs, but for the command that watches over the two.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.servers import TOP, RunningHub

LOOK_SECONDS = 0.01


@dataclass
class ForkingHub(RunningHub):
    """A hub whose processes are forked off one that has everything loaded. `group` is the id of their process group."""

    group: int = 0

    def start(self) -> None:
        """Fork server and worker, and wait until they are ready."""
        if self.process is None:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "tests.fault.preloaded_hub"],
                    env=self.environment,
                    cwd=TOP,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"start\n")
        self.process.stdin.flush()
        self.group = int(self.process.stdout.readline())
        self.wait_until_ready()

    def processes(self) -> list[int]:
        """The ids of the processes that run."""
        return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit() and _group_of(one) == self.group]

    def kill(self) -> None:
        """SIGKILL for server and worker at once, as a power cut has it; returns when nothing of them is left."""
        if self.group:
            os.killpg(self.group, signal.SIGKILL)
            _wait_until_gone(self.group)
            self.group = 0

    def end(self) -> None:
        """Ask server and worker to end; returns when both have."""
        os.killpg(self.group, signal.SIGTERM)
        _wait_until_gone(self.group)
        self.group = 0

    def stop(self) -> None:
        """Kill what runs, and end the process that forks."""
        self.kill()
        if self.process is not None:
            self.process.communicate()
            self.process = None


def _group_of(process: Path) -> int:
    try:
        return os.getpgid(int(process.name))
    except ProcessLookupError:
        return 0  # it ended while we looked


def _wait_until_gone(group: int) -> None:
    with suppress(ProcessLookupError):
        while True:
            os.killpg(group, 0)
            time.sleep(LOOK_SECONDS)
