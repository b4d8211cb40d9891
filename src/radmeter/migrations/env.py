"""Alembic's entry point: runs the revisions on the connection that `radmeter.schema` hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    version_table="alembic_version",
    version_table_schema="radmeter",
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
