"""A PostgreSQL server of its own for a test run: on a free port of the loopback, thrown away at the end.

The server refuses to run as root, so root gives its programs to the user that Debian's package made, or to nobody.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import psycopg

from tests.system_packages import require_program

# what a crash could lose is no loss here, and many tests share two cores
SETTINGS = (
    *("fsync=off", "full_page_writes=off", "shared_buffers=32MB"),
    *("max_connections=200", "unix_socket_directories=''", "deadlock_timeout=50ms"),
)

END_WITH_ITS_TESTS = 'read _; "$1" stop -D "$2/data" --mode=immediate; cd /; rm -rf "$2"'
"""For a shell that reads from a pipe which ends when we close it, and also when we are killed: the server never outlives us."""


class PostgresqlServer:
    """Makes databases. Use as a context manager."""

    def __init__(self) -> None:
        self._initdb = require_program("initdb", "postgresql")
        self._pg_ctl = require_program("pg_ctl", "postgresql")
        self._user = _server_user()
        self._folder = Path(tempfile.mkdtemp(prefix="accord-postgresql-"))
        self._data = str(self._folder / "data")
        self._port = _free_port()
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        self._surroundings: dict[str, Any] = {
            "user": self._user,
            "cwd": self._folder,
            "env": environment,
            "stdout": subprocess.DEVNULL,
        }

    def __enter__(self) -> Self:
        if self._user:
            shutil.chown(self._folder, self._user)
        watch = ["sh", "-c", END_WITH_ITS_TESTS, "sh", str(self._pg_ctl), str(self._folder)]
        self._watcher = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True, **self._surroundings)
        self._run(self._initdb, "-D", self._data, "--username=tests", "--auth=trust", "--encoding=UTF8", "--no-sync")
        options = f"-h 127.0.0.1 -p {self._port} " + " ".join(f"-c {setting}" for setting in SETTINGS)
        log = str(self._folder / "log")
        self._run(self._pg_ctl, "start", "-D", self._data, "-l", log, "-o", options, "--wait", "--timeout=60")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._watcher.communicate(timeout=90)

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a new database that lasts as long as the block."""
        name = f"t{uuid4().hex}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield f"postgresql+psycopg://tests@127.0.0.1:{self._port}/{name}"
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, *command: str | Path) -> None:
        subprocess.run(command, check=True, timeout=90, **self._surroundings)

    def _execute(self, statement: str) -> None:
        address = f"host=127.0.0.1 port={self._port} user=tests dbname=postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement.encode())


def _server_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
