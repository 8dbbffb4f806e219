"""Fixtures for tests that run on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.storage import migrations
from hub.storage.store import Store
from tests.postgresql_server import PostgresqlServer

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: PostgresqlServer) -> Iterator[str]:
    """Name of a migrated database that others are copied from."""
    with postgresql_server.database() as url:
        migrations.upgrade(url)
        yield url.rpartition("/")[2]


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Octets of a migrated database file."""
    file = tmp_path_factory.mktemp("template") / "hub.sqlite"
    migrations.upgrade(f"sqlite:///{file}")
    return file.read_bytes()


@pytest.fixture(params=BACKENDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that nothing was done to."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'hub.sqlite'}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    with server.database() as url:
        yield url


@pytest.fixture(params=BACKENDS)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database."""
    if request.param == "sqlite":
        file = tmp_path / "hub.sqlite"
        file.write_bytes(request.getfixturevalue("migrated_sqlite"))
        yield f"sqlite:///{file}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    with server.database(request.getfixturevalue("migrated_postgresql")) as url:
        yield url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = Store(store_url)
    yield store
    store.close()


@pytest.fixture
def other_store(store_url: str) -> Iterator[Store]:
    """A second process's view of the same database."""
    store = Store(store_url)
    yield store
    store.close()
