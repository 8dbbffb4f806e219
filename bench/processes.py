"""Starting a server in a process group of its own, and reading what the group has used."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 60.0


def free_port() -> int:
    """A port on the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class ServerGroup:
    """A command and all its children, ended together."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], port: int, log: Path) -> None:
        self._log = log.open("wb")
        self.process = subprocess.Popen(
            command, env=dict(environment), stdout=self._log, stderr=self._log, start_new_session=True
        )
        self._wait_for(port, log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._log.close()

    def cpu_seconds(self, *, but: str = "") -> float:
        """User and system time of every process of the group, ended children included.

        Args:
            but: leave out the processes that have this among their arguments.
        """
        counted = (fields for fields in self._stats() if not but or but not in _arguments(fields[-1]))
        return sum(sum(map(int, fields[11:15])) for fields in counted) / _TICKS

    def peak_mebibytes(self) -> float:
        """The sum of the processes' peak resident sizes; pages that they share are counted in each."""
        total = 0
        for fields in self._stats():
            status = Path(f"/proc/{fields[-1]}/status").read_text(encoding="ascii")
            total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return total / 1024

    def _stats(self) -> list[list[str]]:
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                text = (entry / "stat").read_text(encoding="ascii", errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            fields = text.rpartition(")")[2].split()
            if fields[3] == str(self.process.pid) and fields[0] != "Z":  # field 6 of proc(5): the session
                found.append([*fields, entry.name])
        return found

    def _wait_for(self, port: int, log: Path) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended at once: {log.read_text(errors='replace')[-2000:]}")
            try:
                with socket.create_connection(("127.0.0.1", port), 1):
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the server did not listen in time")


def _arguments(process: str) -> list[str]:
    try:
        return Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
