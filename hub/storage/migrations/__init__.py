"""Bringing a database to the form that this release works with, and refusing to work with any other."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, inspect, text

from hub.domain.refusals import HubFault
from hub.storage.database import open_engine

HEAD = "0001"
"""The revision that this release works with: the newest one in `versions/`."""

_SCRIPTS = Path(__file__).parent
_ONE_AT_A_TIME = 0x4143434F  # the advisory lock of whoever migrates: nodes that start together wait for one another


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate the database at `url` up to a revision, all of it in one transaction. Does nothing where it is there already."""
    _migrate(url, "upgrade", revision)


def downgrade(url: str, revision: str) -> None:
    """Migrate down to a revision ("base" for none at all), in one transaction. What later revisions held is lost."""
    _migrate(url, "downgrade", revision)


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
    found = _revision_of(engine)
    if found != HEAD:
        raise HubFault(f"the database is at revision {found or 'none'} and this release needs {HEAD}: migrate it first")


def _revision_of(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        return found


def _migrate(url: str, direction: Literal["upgrade", "downgrade"], revision: str) -> None:
    from alembic import command  # noqa: PLC0415 - a quarter of a second that only a migration needs
    from alembic.config import Config  # noqa: PLC0415 - the same

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    engine = open_engine(url)
    try:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            _wait_for_others(connection)
            config.attributes["connection"] = connection  # taken up by env.py
            getattr(command, direction)(config, revision)
    finally:
        engine.dispose()


def _wait_for_others(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_ONE_AT_A_TIME,))
