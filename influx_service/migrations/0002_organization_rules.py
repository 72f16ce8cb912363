"""How long organisations keep samples."""

import sqlalchemy as sa
from alembic import op

from common.migrations import enable_row_security

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "organization_rules",
        sa.Column("retention_days", sa.Integer(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("settings_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_organization_rules")),
    )
    enable_row_security("organization_rules")
