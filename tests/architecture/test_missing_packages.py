"""A test that cannot run for want of a system package is named, and fails the run where nothing may be missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system_packages import require_program

ROOT = Path(__file__).parents[2]
NEEDS_OPENSSL = """
from tests.system_packages import require_program

def test_of_a_program_that_is_not_there():
    require_program("openssl", "openssl")
"""


@pytest.fixture
def needs_openssl(tmp_path: Path) -> Path:
    file = tmp_path / "test_needs_openssl.py"
    file.write_text(NEEDS_OPENSSL, encoding="utf-8")
    return file


def run_without_programs(file: Path, ci: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        f"--rootdir={file.parent}",
        str(file),
    ]
    environment = {**os.environ, "PATH": "/nowhere", "CI": ci, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=file.parent, env=environment, capture_output=True, text=True, check=False)


def test_the_closing_summary_names_a_test_that_lacks_a_system_package(needs_openssl: Path) -> None:
    result = run_without_programs(needs_openssl, ci="")
    assert "test_of_a_program_that_is_not_there: system package missing: openssl (for openssl)" in result.stdout
    assert result.returncode == 0


def test_a_missing_system_package_fails_the_run_under_ci(needs_openssl: Path) -> None:
    assert run_without_programs(needs_openssl, ci="true").returncode == pytest.ExitCode.TESTS_FAILED


def test_a_test_cannot_ask_for_a_package_that_nobody_installs() -> None:
    with pytest.raises(LookupError, match=r"no-such-package is not in tests/apt\.txt"):
        require_program("anything", "no-such-package")
