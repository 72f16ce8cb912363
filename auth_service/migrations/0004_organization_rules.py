"""What organisations ask of those who log in."""

import sqlalchemy as sa
from alembic import op

from common.migrations import enable_row_security

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "organization_rules",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("second_factor_required", sa.Boolean(), nullable=False),
        sa.Column("settings_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_organization_rules")),
    )
    enable_row_security("organization_rules")
