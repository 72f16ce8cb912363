"""What every service's migrations share: the outbox tables and row-level security. `env.py` here serves them all."""

from __future__ import annotations

from typing import Any

from alembic import op

from common.tables import tables

ORGANIZATION_IS_CALLERS = (
    "org_id = nullif(nullif(current_setting('app.org_id', true), ''), 'all')::uuid"
    " OR current_setting('app.org_id', true) = 'all'"
)


def create_message_tables() -> None:
    """Create the tables of common.tables; the first line of a service's first migration."""
    tables.create_all(op.get_bind())


def enable_row_security(*table_names: str) -> None:
    """Show rows of these tables to their organisation only, whatever the query forgot. Each has a column `org_id`."""
    for name in table_names:
        op.execute(f'ALTER TABLE "{name}" ENABLE ROW LEVEL SECURITY')
        op.execute(f'ALTER TABLE "{name}" FORCE ROW LEVEL SECURITY')
        op.execute(f'CREATE POLICY organization ON "{name}" USING ({ORGANIZATION_IS_CALLERS})')


def create_index_under_load(name: str, table: str, columns: list[str], **options: Any) -> None:
    """Create an index while others write. Can be repeated: a build that broke off leaves an invalid index behind.

    It waits for running transactions without a limit; nobody waits for it.
    """
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, postgresql_concurrently=True, **options)
        op.execute("RESET lock_timeout")


def insert_catalogue(table: Any, rows: list[dict[str, Any]]) -> None:
    """Fill a catalogue table."""
    op.bulk_insert(table, rows)
