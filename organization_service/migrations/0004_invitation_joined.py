"""When whoever accepted an invitation was taken in."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

CONTRACT = "invitations are few, a handful for each member: one update takes milliseconds"


def upgrade() -> None:
    op.add_column("org_invitations", sa.Column("joined_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE org_invitations SET joined_at = used_at WHERE used_at IS NOT NULL")
