"""The pages for operators, officers and auditors, gone through as they stand, in that order, on one installation."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages import TOP, Block, Page
from tests.servers import RunningHub, free_port

PAGES = ("operators", "officers", "auditors")
PATIENCE_SECONDS = 120
PAGE_URL, PAGE_BIND = "https://hub.moi.example", "127.0.0.1:8440"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    """A folder with the configuration that the pages start from, on a port of its own; nothing runs yet."""
    folder, port = tmp_path / "srv", free_port()
    shutil.copytree(TOP / "config", folder / "config")
    config = folder / "config" / "hub.toml"
    text = (
        config.read_text(encoding="utf-8").replace(PAGE_URL, f"http://127.0.0.1:{port}").replace(PAGE_BIND, f"127.0.0.1:{port}")
    )
    config.write_text(text, encoding="utf-8")
    made = RunningHub(folder, f"http://127.0.0.1:{port}", config)
    yield made
    made.stop()


def run(hub: RunningHub, block: Block, exchange: str) -> str:
    """Run one block as it stands, but for the hub's address and the number of the exchange."""
    script = block.text.replace(PAGE_URL, hub.url).replace("EXCHANGE", exchange)
    done = subprocess.run(
        ["sh", "-ec", script],
        cwd=hub.folder,
        env=hub.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.timeout(400)
def test_the_pages_for_operators_officers_and_auditors_work_as_they_stand(hub: RunningHub) -> None:
    printed, exchange = "", ""
    for block in [block for page in PAGES for block in Page(TOP / "docs" / f"{page}.md").blocks()]:
        if block.mark.startswith("file="):
            (hub.folder / block.mark.removeprefix("file=")).write_text(block.text, encoding="utf-8")
        elif block.mark == "serve":
            hub.start()
        elif block.mark.startswith("run"):
            printed += run(hub, block, exchange)
            exchange = next(iter(re.findall(r"^exchange (\S+); the hub's receipt is verified$", printed, re.MULTILINE)), "")
    claims = (
        "in force",
        "tw.npa: released",
        "signed by jp.npa, countersigned by the hub",
        "retrieved for tw.npa, signed by tw.npa",
        "verified: nothing was changed, left out or added",
    )
    assert [claim for claim in claims if claim not in printed] == []
