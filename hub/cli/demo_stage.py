"""The demonstration's stage: a hub of its own below `var/`, agencies in folders of their own, and every step a real command."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.cli.confinement import abi_version

ROOT = Path(__file__).parents[2]
START_SECONDS = 90.0
STEP_SECONDS = 120.0
STOP_SECONDS = 30.0


class StepFailedError(Exception):
    """A step of the demonstration did not do what it should; the text says which, and what it printed."""


@dataclass
class Stage:
    """Where the demonstration takes place. `offset_seconds` is how far its clocks are moved."""

    folder: Path
    port: int = 0
    offset_seconds: int = 0
    server: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def hub_folder(self) -> Path:
        """The hub's settings, keys and database."""
        return self.folder / "hub"

    @property
    def address(self) -> str:
        """The hub's public address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def confines(self) -> bool:
        """Whether this machine can keep the agencies' processes from the hub's files."""
        return abi_version() > 0

    def clear(self) -> None:
        """Start anew: nothing is left of an earlier demonstration."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.hub_folder / "config").mkdir(parents=True)
        self.port = _free_port()
        text = (ROOT / "config" / "hub.toml").read_text(encoding="utf-8")
        for old, new in (
            ('name = "hub.moi.example/accord"', 'name = "demonstration.example/accord"'),
            ('"https://hub.moi.example"', f'"{self.address}"'),
            ('"127.0.0.1:8440"', f'"127.0.0.1:{self.port}"'),
            ("enabled = false", "enabled = true"),
            ('clock_offset_file = ""', 'clock_offset_file = "var/clock-offset"'),
            ("timed_pause_seconds = 60", "timed_pause_seconds = 1"),
            ('level = "info"', 'level = "warning"'),
        ):
            if old not in text:
                raise StepFailedError(f"config/hub.toml has no line with {old}")
            text = text.replace(old, new)
        (self.hub_folder / "config" / "hub.toml").write_text(text, encoding="utf-8")

    def hub(self, *arguments: str, as_json: bool = False, status: int = 0) -> Any:
        """Run a `hub` command as the hub's operator.

        Returns:
            What it printed, as JSON where asked for.

        Raises:
            StepFailedError: it ended with another status.
        """
        command = [sys.executable, "-m", "hub", "--config", str(self.hub_folder / "config" / "hub.toml"), *arguments]
        return _run([*command, "--json"] if as_json else command, status, as_json)

    def home(self, authority: str) -> Path:
        """An agency's folder."""
        return self.folder / "agencies" / authority

    def partner(self, authority: str, *arguments: str, status: int = 0) -> Any:
        """Run a `hub-partner` command in a process of its own that can read the agency's folder, not the hub's.

        Returns:
            What it answered, as JSON; an empty object where it had nothing to say.

        Raises:
            StepFailedError: it ended with another status.
        """
        options = ["--clock-offset", str(self.offset_seconds)] if self.offset_seconds else []
        program = [sys.executable, "-m", "connectors", "--home", str(self.home(authority)), *options, *arguments, "--json"]
        return _run(self.confined(authority, program), status, as_json=True)

    def partner_program(self, authority: str, program: list[str]) -> None:
        """Run any program as an agency; it must end with status 0.

        Raises:
            StepFailedError: it did not.
        """
        _run(self.confined(authority, program), 0, as_json=False)

    def confined(self, authority: str, program: list[str]) -> list[str]:
        """The command line that runs a program as an agency."""
        if not self.confines:
            return program
        self.home(authority).mkdir(parents=True, exist_ok=True)
        readable = [Path(sys.prefix), Path(sys.base_prefix), *(ROOT / name for name in ("hub", "connectors", "schemas"))]
        options = [part for path in readable for part in ("--read", str(path))]
        options += ["--read", str(self.folder / "handed-over"), "--list", str(ROOT), "--write", str(self.home(authority))]
        return [sys.executable, "-m", "hub.cli.confinement", *options, "--", *program]

    def start(self) -> None:
        """Start server, delivery worker and sequencer as one command, and wait until they are ready.

        Raises:
            StepFailedError: they are not ready in time.
        """
        command = [sys.executable, "-m", "hub", "--config", str(self.hub_folder / "config" / "hub.toml"), "serve"]
        log = (self.folder / "hub.log").open("wb")
        self.server = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own command, no shell
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.server.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.address}/readyz", timeout=5):  # noqa: S310 - our own address
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise StepFailedError(f"the hub did not start; see {self.folder / 'hub.log'}")

    def stop(self) -> None:
        """Stop what was started."""
        if self.server is None:
            return
        self.server.send_signal(signal.SIGTERM)
        try:
            self.server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()
        self.server = None

    def move_clock(self, seconds: int) -> None:
        """Move the hub's clock and the agencies' by so many seconds from now on; the hub logs it."""
        self.offset_seconds += seconds
        (self.hub_folder / "var" / "clock-offset").write_text(str(self.offset_seconds), encoding="ascii")


def _run(command: list[str], status: int, as_json: bool) -> Any:
    done = subprocess.run(command, capture_output=True, text=True, timeout=STEP_SECONDS, cwd=ROOT, check=False)  # noqa: S603 - our own commands, no shell
    if done.returncode != status:
        shown = " ".join(part for part in command if not part.startswith("--read"))
        raise StepFailedError(f"{shown}\nended with {done.returncode} instead of {status}\n{done.stdout}{done.stderr}")
    if not as_json:
        return done.stdout
    try:
        return json.loads(done.stdout) if done.stdout.strip() else {}
    except ValueError as error:
        raise StepFailedError(f"no JSON came from {' '.join(command)}\n{done.stdout}{done.stderr}") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
