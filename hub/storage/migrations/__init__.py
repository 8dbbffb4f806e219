"""Bringing a database to the form that this release works with, and refusing to work with any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from hub.domain.refusals import HubFault
from hub.storage.database import open_engine

_SCRIPTS = Path(__file__).parent
_ONE_AT_A_TIME = 0x4143434F  # the advisory lock of whoever migrates: nodes that start together wait for one another


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate the database at `url` up to a revision, all of it in one transaction. Does nothing where it is there already."""
    _migrate(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Migrate down to a revision ("base" for none at all), in one transaction. What later revisions held is lost."""
    _migrate(url, lambda config: command.downgrade(config, revision))


def current(url: str) -> str | None:
    """The revision of the database at `url`, or None where it was never migrated."""
    engine = open_engine(url)
    try:
        return _revision_of(engine)
    finally:
        engine.dispose()


def require_head(engine: Engine) -> None:
    """Check that the database has exactly the form that this release works with.

    Raises:
        HubFault: it was never migrated, or it is at another revision.
    """
    head = ScriptDirectory(str(_SCRIPTS)).get_current_head()
    found = _revision_of(engine)
    if found != head:
        raise HubFault(f"the database is at revision {found or 'none'} and this release needs {head}: migrate it first")


def _revision_of(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _migrate(url: str, step: Callable[[Config], None]) -> None:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    engine = open_engine(url)
    try:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            _wait_for_others(connection)
            config.attributes["connection"] = connection  # taken up by env.py
            step(config)
    finally:
        engine.dispose()


def _wait_for_others(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_ONE_AT_A_TIME,))
