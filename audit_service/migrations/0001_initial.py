"""The audit trail, and two locks on it: no grant to change a row, and a trigger that refuses."""

import sqlalchemy as sa
from alembic import op

from common.migrations import create_message_tables, enable_row_security

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


FUNCTION = "FUNCTION refuse_change()"
REFUSE = f"""
CREATE {FUNCTION} RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_logs: rows are written once' USING ERRCODE = 'insufficient_privilege';
END $$
"""


def upgrade() -> None:
    create_message_tables()
    op.create_table(
        "audit_logs",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=True),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=80), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=True),
        sa.Column("ip", sa.String(length=45), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_logs")),
        sa.UniqueConstraint("id", name=op.f("uq_audit_logs_id")),
    )
    op.create_index("ix_audit_logs_org_id_action_id", "audit_logs", ["org_id", "action", "id"], unique=False)
    op.create_index("ix_audit_logs_org_id_actor_id", "audit_logs", ["org_id", "actor", "id"], unique=False)
    op.create_index("ix_audit_logs_org_id_entity_id_id", "audit_logs", ["org_id", "entity_id", "id"], unique=False)
    op.create_index("ix_audit_logs_org_id_id", "audit_logs", ["org_id", "id"], unique=False)
    op.create_index("ix_audit_logs_org_id_ts", "audit_logs", ["org_id", "ts"], unique=False)
    op.create_index("ix_audit_logs_request_id", "audit_logs", ["request_id"], unique=False)
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON audit_logs FROM heartguard_audit")
    op.execute(REFUSE)
    op.execute(f"CREATE TRIGGER no_change BEFORE UPDATE OR DELETE ON audit_logs FOR EACH ROW EXECUTE {FUNCTION}")
    op.execute(f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON audit_logs FOR EACH STATEMENT EXECUTE {FUNCTION}")
    enable_row_security("audit_logs")
