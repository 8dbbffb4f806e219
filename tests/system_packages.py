"""The Debian packages that tests need: install what is missing where that is allowed, and say what cannot be covered.

`make test` runs this file; a test that needs a program asks `require_program`. `tests/apt.txt` is the list.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

APT_LIST = Path(__file__).with_name("apt.txt")
MISSING = "system package missing: "  # how conftest.py recognises such a skip
DEBIAN_POSTGRESQL = Path("/usr/lib/postgresql")  # Debian keeps the server's programs off the PATH


def listed_packages() -> list[str]:
    lines = (line.partition("#")[0].strip() for line in APT_LIST.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def find_program(name: str) -> Path | None:
    found = shutil.which(name)
    if found:
        return Path(found)
    in_newest_first = sorted(DEBIAN_POSTGRESQL.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]), reverse=True)
    return in_newest_first[0] if in_newest_first else None


def require_program(name: str, package: str) -> Path:
    """Path of a program, or a skip that the closing summary names and that fails the run under CI=true.

    Raises:
        LookupError: the package is not listed in `tests/apt.txt`, so that nobody would ever install it.
    """
    if package not in listed_packages():
        raise LookupError(f"{package} is not in tests/apt.txt")
    program = find_program(name)
    if program is None:
        pytest.skip(f"{MISSING}{package} (for {name})")
    return program


def missing_packages() -> list[str]:
    """Listed packages that are not installed; none where there is no dpkg to ask."""
    if shutil.which("dpkg-query") is None:
        return []
    ask = ["dpkg-query", "--show", "--showformat", "${db:Status-Status}"]
    answers = {name: subprocess.run([*ask, name], capture_output=True, text=True, check=False) for name in listed_packages()}
    return [name for name, answer in answers.items() if answer.stdout != "installed"]


def install(packages: list[str]) -> bool:
    """Install with apt-get as root or by sudo without a password; False if that is not possible."""
    if shutil.which("apt-get") is None or (os.geteuid() != 0 and shutil.which("sudo") is None):
        return False
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    steps = (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages])
    return all(subprocess.run([*prefix, "apt-get", *step], env=quiet, check=False).returncode == 0 for step in steps)


def main() -> int:
    missing = missing_packages()
    if not missing:
        return 0
    print("system packages: installing", ", ".join(missing), flush=True)
    if not install(missing):
        print("system packages: could not install", ", ".join(missing), "- the tests that need them will be skipped and named")
    return 0


if __name__ == "__main__":
    sys.exit(main())
