"""`hub serve` as it is run: one command, a server and a worker, a log that is signed, and an end in good order."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.bootstrap import Installation
from hub.settings import CONFIG_VARIABLE
from hub.storage import audit
from hub.storage.store import Store
from tests.simulators.installation import install

LONG_ENOUGH_SECONDS = 60
PAUSE_SECONDS = 0.1


@dataclass
class Served:
    """A hub that runs."""

    installation: Installation
    process: subprocess.Popen[bytes]
    address: str

    def get(self, path: str) -> Any:
        """The JSON at a path, or None where nothing answers."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    def entries(self) -> list[dict[str, Any]]:
        """Every audit entry."""
        store = Store(self.installation.settings.database.url)
        with store.reading() as work:
            rows = [*audit.sequenced(work, 0, 1 << 30), *audit.pending(work, 1000)]
        store.close()
        return [json.loads(row.entry) for row in rows]

    def processes(self) -> list[int]:
        """The two children of the command."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text(encoding="ascii").split()]


def wait_for(condition: Callable[[], Any]) -> None:
    last = time.monotonic() + LONG_ENOUGH_SECONDS
    while not condition():
        assert time.monotonic() < last
        time.sleep(PAUSE_SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    installation = install(tmp_path / "hub")
    file, port = installation.settings.file, free_port()
    text = file.read_text(encoding="utf-8").replace("18440", str(port))
    file.write_text(f'{text}\n[server]\nbind = "127.0.0.1:{port}"\nworkers = 1\nthreads = 4\n', encoding="utf-8")
    environment = {**os.environ, CONFIG_VARIABLE: str(file)}
    with subprocess.Popen([sys.executable, "-m", "hub", "serve"], env=environment, stderr=subprocess.DEVNULL) as process:
        hub = Served(Installation(file), process, f"http://127.0.0.1:{port}")
        wait_for(lambda: hub.get("/readyz"))
        yield hub
        process.send_signal(signal.SIGTERM)


def roles(served: Served, event: str) -> list[str]:
    return sorted(entry["details"]["role"] for entry in served.entries() if entry["event"] == event)


def test_it_starts_sequences_its_log_and_ends_in_good_order(served: Served) -> None:
    wait_for(lambda: roles(served, "hub.started") == ["server", "worker"])
    wait_for(lambda: served.get("/readyz")["ready"])
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(LONG_ENOUGH_SECONDS) == 0
    assert roles(served, "hub.stopped") == ["server", "worker"]


def test_a_killed_worker_comes_back(served: Served) -> None:
    wait_for(lambda: len(roles(served, "hub.started")) == 2)
    os.kill(served.processes()[1], signal.SIGKILL)
    wait_for(lambda: roles(served, "hub.started") == ["server", "worker", "worker"])


def test_nothing_is_left_running_where_the_command_itself_is_killed(served: Served) -> None:
    wait_for(lambda: len(roles(served, "hub.started")) == 2)
    children = served.processes()
    served.process.kill()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    assert served.get("/livez") is None


def test_a_hub_that_cannot_be_opened_is_not_served(tmp_path: Path) -> None:
    installation = install(tmp_path / "hub")
    installation.settings.keys.passphrase_file.chmod(0o644)
    environment = {**os.environ, CONFIG_VARIABLE: str(installation.settings.file)}
    ended = subprocess.run([sys.executable, "-m", "hub", "serve"], env=environment, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, b"key_file_unsafe" in ended.stderr) == (1, True)
