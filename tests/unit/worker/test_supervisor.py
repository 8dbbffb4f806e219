"""Server and worker are processes of one command: one that dies is started again, and all of them end together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from structlog.testing import capture_logs

from hub.worker.supervisor import StopRequest, supervise

ROOT = Path(__file__).parents[3]
NOTES_ITS_SIGNALS = """
import pathlib, signal, sys, time
file = pathlib.Path(sys.argv[1])
def note(number, _frame):
    with file.open("a") as lines: lines.write(signal.Signals(number).name + "\\n")
    if number == signal.SIGTERM: sys.exit(0)
for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, note)
with file.open("a") as lines: lines.write("started\\n")
while True: time.sleep(0.05)
"""
DIES_AT_ONCE = "import pathlib, sys; pathlib.Path(sys.argv[1]).open('a').write('started\\n')"
DOES_NOT_END = NOTES_ITS_SIGNALS.replace("sys.exit(0)", "pass")
LONG_ENOUGH_SECONDS = 30


def lines_of(file: Path) -> list[str]:
    return file.read_text(encoding="ascii").splitlines() if file.exists() else []


def until(condition: Callable[[], bool]) -> Callable[[], bool]:
    """Asks for the end once something has come to be; the test fails where that takes too long."""
    last = time.monotonic() + LONG_ENOUGH_SECONDS

    def asked() -> bool:
        assert time.monotonic() < last
        return condition()

    return asked


def run(tmp_path: Path, programs: dict[str, str], asked: Callable[[], bool], within: float = 10) -> dict[str, list[str]]:
    """Supervise small programs that write to files of their names; gives the lines of each."""
    commands = {name: [sys.executable, "-c", text, str(tmp_path / name)] for name, text in programs.items()}
    with capture_logs():
        supervise(commands, os.environ, asked, stop_within=timedelta(seconds=within), changing=tmp_path / "manifest")
    return {name: lines_of(tmp_path / name) for name in programs}


def test_all_processes_are_started_and_asked_to_end(tmp_path: Path) -> None:
    asked = until(lambda: all(lines_of(tmp_path / name) for name in ("server", "worker")))
    lines = run(tmp_path, {"server": NOTES_ITS_SIGNALS, "worker": NOTES_ITS_SIGNALS}, asked)
    assert lines == {"server": ["started", "SIGTERM"], "worker": ["started", "SIGTERM"]}


def test_a_process_that_ends_by_itself_is_started_again(tmp_path: Path) -> None:
    asked = until(lambda: len(lines_of(tmp_path / "worker")) >= 2)
    lines = run(tmp_path, {"server": NOTES_ITS_SIGNALS, "worker": DIES_AT_ONCE}, asked)
    assert lines["worker"][:2] == ["started", "started"]
    assert lines["server"].count("started") == 1


def test_a_process_that_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    asked = until(lambda: bool(lines_of(tmp_path / "server")))
    assert run(tmp_path, {"server": DOES_NOT_END}, asked, within=0.5) == {"server": ["started", "SIGTERM"]}


def test_a_change_of_the_keys_is_told_to_every_process(tmp_path: Path) -> None:
    file = tmp_path / "manifest"
    changed: list[int] = []

    def asked() -> bool:
        lines = lines_of(tmp_path / "server")
        if lines == ["started"] and not changed:
            changed.append(file.write_text("new", encoding="ascii"))
        return "SIGHUP" in lines

    assert run(tmp_path, {"server": NOTES_ITS_SIGNALS}, until(asked)) == {"server": ["started", "SIGHUP", "SIGTERM"]}


def test_a_child_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    child = f"from hub.worker.supervisor import end_with; import os; end_with(os.getppid())\n{NOTES_ITS_SIGNALS}"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, sys.argv[1]])"
    file = tmp_path / "child"
    with subprocess.Popen([sys.executable, "-c", parent, str(file)], cwd=ROOT) as supervisor:
        wait_for(lambda: lines_of(file) == ["started"])
        supervisor.kill()
    wait_for(lambda: lines_of(file) == ["started", "SIGTERM"])


def test_a_child_whose_supervisor_has_ended_before_it_began_ends_too() -> None:
    text = "from hub.worker.supervisor import end_with; end_with(1 << 22); print('still there')"
    ended = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGTERM, b"")


def wait_for(condition: Callable[[], bool]) -> None:
    asked = until(condition)
    while not asked():
        os.sched_yield()


def test_a_signal_is_noted_and_does_nothing_else() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        request = StopRequest().listen()
        assert not request()
        signal.raise_signal(signal.SIGTERM)
        assert request()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
