"""Alembic runs this; the connection, already in a transaction, comes from ``store.migrate``."""

from alembic import context

from moorage.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
