"""A packaged hub on this machine: `hub serve` (gunicorn and the worker) over a folder and a free port of its own.

    with running_hub(tmp_path) as hub:
        hub.command("party", "add", "config/parties/jp.npa.toml")
        httpx2.get(f"{hub.url}/readyz")

Everything goes in by the commands that an operator types, and nothing of the hub is imported here.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

TOP = Path(__file__).parents[1]
NAME = "hub.test/accord"
START_SECONDS = 60
STOP_SECONDS = 40
LOOK_SECONDS = 0.05
"""Between two looks at something that another process is about to do."""

Sections = Mapping[str, Mapping[str, object]]


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object]) -> None:
    """Look again and again until something holds that another process is about to do."""
    until = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(LOOK_SECONDS)


@dataclass
class RunningHub:
    """A hub in a folder. `config` is its settings file; `log` takes what its processes write to standard error."""

    folder: Path
    url: str
    config: Path
    process: subprocess.Popen[bytes] | None = None
    identity: dict[str, Any] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """What the processes wrote."""
        return self.folder / "hub.log"

    @property
    def environment(self) -> dict[str, str]:
        """In which `hub` speaks of this hub; the programs and the modules are those of this project."""
        programs = str(Path(sys.executable).parent)
        own = {"ACCORD_CONFIG": str(self.config), "PYTHONPATH": str(TOP)}
        return {**os.environ, **own, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def command(self, *arguments: str | Path, status: int = 0) -> str:
        """Run `hub ARGUMENTS` and give what it printed."""
        command = [sys.executable, "-m", "hub", *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, cwd=TOP, capture_output=True, text=True, check=False)
        assert done.returncode == status, f"hub {arguments[0]} ended with {done.returncode}: {done.stderr or done.stdout}"
        return done.stdout

    def initialise(self) -> None:
        """Make keys and database, and the file that partners pin: `hub-keys.json` in the folder."""
        self.identity = json.loads(self.command("init", "--json"))
        (self.folder / "hub-keys.json").write_text(json.dumps(self.identity), encoding="utf-8")

    def start(self) -> None:
        """Start server and worker in a process group of their own, and wait until they are ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub", "serve"],
                env=self.environment,
                cwd=TOP,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Look at /readyz until it says yes."""
        until = time.monotonic() + START_SECONDS
        while not self._is_ready():
            assert self.process is not None
            assert self.process.poll() is None, f"the hub ended: {self.tail()}"
            assert time.monotonic() < until, f"the hub is not ready: {self.tail()}"
            time.sleep(LOOK_SECONDS)

    def _is_ready(self) -> bool:
        connection = HTTPConnection(self.url.removeprefix("http://"), timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def tail(self) -> str:
        """The end of what the processes wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def stop(self) -> None:
        """Ask the hub to end, and see that nothing of its process group is left."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL for the whole process group, as a power cut has it."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):  # all of it had ended
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def cpu_seconds(self) -> float:
        """Processor time that the process group has used so far, children that ended included."""
        assert self.process is not None
        ticks = sum(_ticks_of(entry, self.process.pid) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return ticks / os.sysconf("SC_CLK_TCK")

    def register_agency(self, registration: Path, party: Path | None = None) -> str:
        """Record an agency, from `config/parties` unless a file is given, with the keys of its registration file."""
        authority: str = json.loads(registration.read_bytes())["authority"]
        self.command("party", "add", party or TOP / "config" / "parties" / f"{authority}.toml")
        self.command("key", "import", "--owner", authority, registration)
        return authority


def _ticks_of(entry: Path, group: int) -> int:
    try:
        fields = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0  # it ended while we looked
    return sum(int(one) for one in fields[11:15]) if int(fields[2]) == group else 0


def write_config(folder: Path, port: int, sections: Sections | None = None) -> Path:
    """Write `config/hub.toml` below a folder; `sections` adds to it or changes it."""
    url = f"http://127.0.0.1:{port}"
    document: dict[str, dict[str, object]] = {
        "hub": {"name": NAME, "issuer": url},
        "server": {"bind": f"127.0.0.1:{port}", "workers": 2, "threads": 8, "graceful_timeout_seconds": 5},
    }
    for section, members in (sections or {}).items():
        document.setdefault(section, {}).update(members)
    tables = [
        f"[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in members.items())
        for section, members in document.items()
    ]
    config = folder / "config" / "hub.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("\n".join(tables), encoding="utf-8")
    return config


@contextmanager
def running_hub(folder: Path, sections: Sections | None = None) -> Iterator[RunningHub]:
    """A new hub, running until the end of the block."""
    port = free_port()
    hub = RunningHub(folder, f"http://127.0.0.1:{port}", write_config(folder, port, sections))
    hub.initialise()
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()
