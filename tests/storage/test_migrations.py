import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect

from hub.domain.refusals import HubFault
from hub.storage import log, migrations, registry
from hub.storage.database import open_engine
from hub.storage.store import Store
from hub.storage.tables import metadata


def differences(engine: Engine) -> list[object]:
    options = {"compare_type": True, "target_metadata": metadata}
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def tables(url: str) -> set[str]:
    engine = open_engine(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names - {"alembic_version"}


def test_the_migrations_build_exactly_the_tables_that_the_code_works_with(store: Store) -> None:
    assert differences(store.engine) == []


def test_an_index_that_is_missing_would_be_noticed(store: Store) -> None:
    store.write(lambda work: work.exec_driver_sql("DROP INDEX ix_deliveries_exchange"))
    assert differences(store.engine) != []


def test_a_database_goes_up_down_and_up_again(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    there = tables(empty_url)
    migrations.downgrade(empty_url, "base")
    assert (there, tables(empty_url)) == (set(metadata.tables), set())
    assert migrations.current(empty_url) is None
    migrations.upgrade(empty_url)
    assert tables(empty_url) == there
    assert migrations.current(empty_url) == "0001"


def test_migrating_twice_changes_nothing(store: Store, store_url: str) -> None:
    migrations.upgrade(store_url)
    with store.reading() as work:
        assert registry.current_version(work) == 0


def test_the_log_starts_empty_with_the_hash_of_nothing(store: Store) -> None:
    with store.reading() as work:
        assert log.state(work) == (0, hashlib.sha256(b"").digest())


def test_a_migrated_database_is_accepted(store: Store) -> None:
    migrations.require_head(store.engine)


def test_a_database_that_was_never_migrated_is_refused(empty_url: str) -> None:
    engine = open_engine(empty_url)
    with pytest.raises(HubFault, match=r"at revision none and this release needs 0001: migrate it first"):
        migrations.require_head(engine)
    engine.dispose()


def test_a_database_of_another_release_is_refused(store: Store) -> None:
    store.write(lambda work: work.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(HubFault, match=r"at revision 9999 and this release needs 0001"):
        migrations.require_head(store.engine)


def test_a_migration_that_fails_leaves_the_database_as_it_was(empty_url: str) -> None:
    engine = open_engine(empty_url)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.exec_driver_sql("CREATE TABLE leases (name TEXT)")  # the last one that the first migration makes
    engine.dispose()
    with pytest.raises(Exception, match=r"leases.*already exists"):
        migrations.upgrade(empty_url)
    assert tables(empty_url) == {"leases"}


def test_nodes_that_start_together_migrate_once(empty_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(migrations.upgrade, empty_url) for _ in range(4)]:
            one.result(60)
    engine = open_engine(empty_url)
    migrations.require_head(engine)
    assert differences(engine) == []
    engine.dispose()


def test_the_revision_that_this_release_needs_is_the_newest_migration() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_current_head() == migrations.HEAD
