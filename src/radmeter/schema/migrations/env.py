"""Alembic's entry point: runs the revisions on the connection that `revisions.py` hands over, or prints them."""

from alembic import context

if context.is_offline_mode():
    # The script has a transaction of its own around everything; named parameters leave a per cent sign as it is.
    context.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},
        literal_binds=True,
        transactional_ddl=False,
        version_table="alembic_version",
        version_table_schema="radmeter",
    )
else:
    context.configure(
        connection=context.config.attributes["connection"],
        transaction_per_migration=True,
        version_table="alembic_version",
        version_table_schema="radmeter",
    )
with context.begin_transaction():
    context.run_migrations()
