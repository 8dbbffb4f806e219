"""`make bench`: measure the packaged hub and its floor in one run; write `bench/results/latest.json` and print a table."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.delivery import measure_delivery
from bench.exchange import RECIPIENTS, SENDER, Member, hub_keys, seal_messages, set_up
from bench.floor import measure_floor
from bench.processes import ServerGroup, free_port
from hub.crypto.notes import NoteKey
from hub.settings import environment_with, load_settings

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "latest.json"
MESSAGE_BYTES = 4096
WARM_UP = 200
WORKER = "worker"
"""The argument by which the delivery worker's process is known."""

AT_REST_SECONDS = 0.04
"""CPU time in half a second below which a server counts as at rest: its loops look for work several times a second."""

COUNTS = {1: 600, 8: 2400, 32: 2400}
RECIPIENT_COUNTS = (1, 3, 10)
PROGRAM = Path(sys.executable).parent


def main() -> int:
    """Run everything; the exit status says whether every message that was sent was accepted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results: dict[str, Any] = {"machine": _machine(), "message_bytes": MESSAGE_BYTES}
        results["floor"] = measure_floor(MESSAGE_BYTES, folder)
        port, config = _initialise(folder)
        members = set_up(config)
        key, log_key = hub_keys(config)
        settings = load_settings(config)
        results["server"] = {"workers": settings.server.workers, "threads": settings.server.threads}
        with ServerGroup([str(PROGRAM / "hub"), "serve"], environment_with(config), port, folder / "hub.log") as hub:
            _measure_hub(results, hub, port, (members, key, log_key), folder)
        results["echo"] = _measure_echo(folder, settings.server.workers, settings.server.threads)
    accept = results["accept"]
    floor = results["floor"]["cpu_ms"] + results["echo"]["cpu_ms"]
    accept["ratio_to_floor"] = accept["c8"]["cpu_ms"] / floor
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    _print(results)
    return 0 if all(one["refused"] == 0 for one in accept.values() if isinstance(one, dict)) else 1


def _measure_hub(
    results: dict[str, Any],
    hub: ServerGroup,
    port: int,
    world: tuple[dict[str, Member], tuple[str, dict[str, str]], NoteKey],
    folder: Path,
) -> None:
    members, key, log_key = world
    sender = members[SENDER]

    def run(count: int, concurrency: int, recipients: int = 1) -> dict[str, float]:
        bodies = seal_messages(sender, key, count, MESSAGE_BYTES, RECIPIENTS[:recipients])
        return _drive(hub, port, bodies, concurrency, folder)

    run(WARM_UP, 8)
    results["accept"] = {f"c{concurrency}": run(count, concurrency) for concurrency, count in COUNTS.items()}
    for recipients in RECIPIENT_COUNTS:
        results["accept"][f"r{recipients}"] = run(COUNTS[8] // 2, 8, recipients)
    results["delivery"] = measure_delivery(port, members[SENDER], members[RECIPIENTS[0]], key, log_key)
    results["memory"] = {"peak_mib": hub.peak_mebibytes()}


def _measure_echo(folder: Path, workers: int, threads: int) -> dict[str, float]:
    port = free_port()
    command = [
        str(PROGRAM / "gunicorn"),
        "-k",
        "gthread",
        "-w",
        str(workers),
        "--threads",
        str(threads),
        "-b",
        f"127.0.0.1:{port}",
    ]
    bodies = [b"x" * 9500] * COUNTS[8]
    with ServerGroup(
        [*command, "bench.echo:application"], {"PATH": "/usr/bin", "PYTHONPATH": str(ROOT)}, port, folder / "echo.log"
    ) as echo:
        _drive(echo, port, bodies[:WARM_UP], 8, folder)
        return _drive(echo, port, bodies, 8, folder)


def _drive(server: ServerGroup, port: int, bodies: list[bytes], concurrency: int, folder: Path) -> dict[str, float]:
    """Send the bodies from another process.

    `cpu_ms` is what the server's processes used for each message. `cpu_ms_with_worker` counts the worker's too, until all is at
    rest again, so that delivery and the log, which are put off, are in it.
    """
    file = folder / "bodies"
    file.write_bytes(b"\n".join(bodies))
    _rest(server)
    before, before_all = server.cpu_seconds(but=WORKER), server.cpu_seconds()
    command = [sys.executable, "-m", "bench.load", str(port), str(file), str(concurrency)]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
    accepting = server.cpu_seconds(but=WORKER) - before
    _rest(server)
    count = answer["count"]
    return {
        "rate": answer["rate"],
        "p50_ms": answer["p50_ms"],
        "p99_ms": answer["p99_ms"],
        "cpu_ms": accepting / count * 1000,
        "cpu_ms_with_worker": (server.cpu_seconds() - before_all) / count * 1000,
        "count": count,
        "refused": count - answer["statuses"].get("202", 0),
    }


def _rest(server: ServerGroup) -> None:
    """Wait until the server has done what it put off, half a minute at the most."""
    for _ in range(60):
        before = server.cpu_seconds()
        time.sleep(0.5)
        if server.cpu_seconds() - before <= AT_REST_SECONDS:
            return


def _initialise(folder: Path) -> tuple[int, Path]:
    port = free_port()
    config = folder / "config" / "hub.toml"
    config.parent.mkdir()
    text = (ROOT / "config" / "hub.toml").read_text(encoding="utf-8")
    text = text.replace('"127.0.0.1:8440"', f'"127.0.0.1:{port}"').replace(
        '"https://hub.moi.example"', f'"http://127.0.0.1:{port}"'
    )
    config.write_text(text, encoding="utf-8")
    subprocess.run([str(PROGRAM / "hub"), "init"], check=True, capture_output=True, env=environment_with(config))
    return port, config


def _machine() -> dict[str, str]:
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    return {"processor": model, "python": platform.python_version(), "system": platform.system()}


def _print(results: dict[str, Any]) -> None:
    print(f"{'measure':32}{'rate/s':>9}{'CPU ms':>9}{'+worker':>9}{'p50 ms':>9}{'p99 ms':>9}")
    for name, one in results["accept"].items():
        if isinstance(one, dict):
            _print_row(f"accept {name}", one)
    _print_row("echo c8", results["echo"])
    floor, delivery = results["floor"], results["delivery"]
    print(
        f"floor of primitives: {floor['cpu_ms']:.3f} ms: "
        + ", ".join(f"{name[:-3]} {value:.3f}" for name, value in floor.items() if name != "cpu_ms")
    )
    print(f"ratio of accept c8 to floor and echo: {results['accept']['ratio_to_floor']:.2f}")
    print(f"accepted to opened by a pulling partner: p50 {delivery['p50_ms']:.0f} ms, p99 {delivery['p99_ms']:.0f} ms")
    print(f"peak memory of all processes: {results['memory']['peak_mib']:.0f} MiB")
    print(f"written to {RESULTS.relative_to(ROOT)}")


def _print_row(name: str, one: dict[str, float]) -> None:
    later = one["cpu_ms_with_worker"]
    print(f"{name:32}{one['rate']:9.0f}{one['cpu_ms']:9.2f}{later:9.2f}{one['p50_ms']:9.1f}{one['p99_ms']:9.1f}")


if __name__ == "__main__":
    raise SystemExit(main())
