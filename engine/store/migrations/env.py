"""Alembic's entry: run the revisions on the connection, and in the transaction, that engine.store.migrate opened."""

from alembic import context

from engine.store.schema.whole import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
