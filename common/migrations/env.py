"""Alembic's environment: migrate on the connection, and compare with the models, that common.migrate gave."""

from alembic import context

from common.tables import tables

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    compare_type=True,
    # common.migrations.create_message_tables makes these, the same in every service.
    include_name=lambda name, kind, _parents: kind != "table" or name not in tables.tables,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
