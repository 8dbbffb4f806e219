"""Commands run in this process, on an installed hub of their own."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hub.bootstrap import Installation
from hub.cli.commands import hub as command
from tests.simulators.installation import copy_of, install


@pytest.fixture(scope="session")
def installed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed") / "hub"
    install(folder)
    return folder


class Shell:
    """A shell in which `hub` is run."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.installation = installation
        self.folder = folder

    def run(self, *words: str | Path) -> Result:
        """Run `hub WORDS`, whatever comes of it."""
        return CliRunner().invoke(command, [str(word) for word in words], obj=lambda _config: self.installation)

    def do(self, *words: str | Path) -> str:
        """Run `hub WORDS`, which must succeed, and give its standard output."""
        result = self.run(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    def read(self, *words: str | Path) -> Any:
        """Run `hub WORDS --json`, which must succeed, and give what it printed."""
        return json.loads(self.do(*words, "--json"))

    def refusal(self, *words: str | Path) -> str:
        """Run `hub WORDS`, which must be refused, and give what it says on standard error."""
        result = self.run(*words)
        assert (result.exit_code, result.stdout) == (1, "")
        return result.stderr


@pytest.fixture
def shell(installed_once: Path, tmp_path: Path) -> Shell:
    return Shell(copy_of(installed_once, tmp_path / "hub"), tmp_path)
