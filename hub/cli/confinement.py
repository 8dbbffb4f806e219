"""Run a command that can read nothing but what it is given: the demonstration's agencies must not see the hub's files.

`python -m hub.cli.confinement [--read PATH]... [--list PATH]... [--write PATH]... -- COMMAND...` uses Landlock (Linux 5.13 and
later, no privileges needed; see landlock(7)). Where the kernel has none it ends with status 69 and runs nothing.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ALL_OF_VERSION_1 = (1 << 13) - 1
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/proc", "/sys", "/run/systemd/resolve")


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi_version() -> int:
    """The Landlock version of this kernel; 0 where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)))


def confine(read: Iterable[Path], listed: Iterable[Path], write: Iterable[Path]) -> None:
    """Take everything from this process and its children for good, but what is named and the system's own folders.

    Args:
        read: files and folders that may be read and executed, all below them too.
        listed: folders whose entries' names may be read, all below them too, but no file.
        write: folders in which everything may be done.

    Raises:
        OSError: the kernel refuses.
    """
    handled = _ALL_OF_VERSION_1 | (_REFER if abi_version() >= 2 else 0) | (_TRUNCATE if abi_version() >= 3 else 0)  # noqa: PLR2004 - versions of landlock(7)
    attribute = ctypes.c_uint64(handled)
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attribute), 8, 0)
    for path in (*map(Path, _SYSTEM), *read):
        _allow(ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
    for path in listed:
        _allow(ruleset, path, _READ_DIR)
    for path in write:
        _allow(ruleset, path, handled)
    _allow(ruleset, Path("/dev"), _READ_FILE | _READ_DIR | _WRITE_FILE)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    _call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: Path, access: int) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        access &= _EXECUTE | _WRITE_FILE | _READ_FILE
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(_PathBeneath(access, folder)), 0)
    finally:
        os.close(folder)


def _call(number: int, *arguments: object) -> int:
    result = int(ctypes.CDLL(None, use_errno=True).syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), "landlock")
    return result


def main(arguments: list[str]) -> None:
    """Confine this process and become the command."""
    split = arguments.index("--")
    options, command = arguments[:split], arguments[split + 1 :]
    named: dict[str, list[Path]] = {"--read": [], "--list": [], "--write": []}
    for option, path in zip(options[::2], options[1::2], strict=True):
        named[option].append(Path(path))
    if not abi_version():
        sys.exit(UNAVAILABLE)
    confine(named["--read"], named["--list"], named["--write"])
    os.execv(command[0], command)  # noqa: S606 - the very purpose


if __name__ == "__main__":
    main(sys.argv[1:])
