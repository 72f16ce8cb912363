"""The organisations' quiet hours, and people who have not said in which language they want to be told."""

import sqlalchemy as sa
from alembic import op

from common.migrations import enable_row_security

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("user_preferences", "language", existing_type=sa.String(length=2), nullable=True)
    op.create_table(
        "organization_rules",
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("quiet_from", sa.String(length=5), nullable=True),
        sa.Column("quiet_until", sa.String(length=5), nullable=True),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("settings_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_organization_rules")),
    )
    enable_row_security("organization_rules")
