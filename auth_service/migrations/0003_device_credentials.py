"""Codes that pair devices, and sessions that belong to a device instead of a user."""

import sqlalchemy as sa
from alembic import op

from common.migrations import ORGANIZATION_IS_CALLERS, create_index_under_load, enable_row_security

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_pairings",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("selector", sa.String(length=4), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_pairings")),
        sa.UniqueConstraint("device_id", name=op.f("uq_device_pairings_device_id")),
        sa.UniqueConstraint("selector", name=op.f("uq_device_pairings_selector")),
    )
    op.create_index(op.f("ix_device_pairings_expires_at"), "device_pairings", ["expires_at"], unique=False)
    enable_row_security("device_pairings")
    op.add_column("sessions", sa.Column("device_id", sa.Uuid(), nullable=True))
    op.alter_column("sessions", "user_id", nullable=True)
    op.execute(
        "ALTER TABLE sessions ADD CONSTRAINT ck_sessions_holder"
        " CHECK ((user_id IS NULL) <> (device_id IS NULL)) NOT VALID"
    )
    # Beside the policy that shows a user's sessions where the user may be seen.
    op.execute(f"CREATE POLICY devices ON sessions USING (device_id IS NOT NULL AND ({ORGANIZATION_IS_CALLERS}))")
    op.execute(
        "CREATE POLICY devices ON refresh_tokens USING"
        " (EXISTS (SELECT FROM sessions WHERE sessions.id = session_id AND sessions.device_id IS NOT NULL))"
    )
    op.execute("ALTER TABLE sessions VALIDATE CONSTRAINT ck_sessions_holder")
    create_index_under_load(op.f("ix_sessions_device_id"), "sessions", ["device_id"])
