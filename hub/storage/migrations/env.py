"""Run by alembic for each migration, on the connection that `hub.storage.migrations` opened."""

from alembic import context

from hub.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite can, too: the transaction is begun by our own engine, not by its driver
    render_as_batch=True,
)
context.run_migrations()
