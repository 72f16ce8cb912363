"""The language in which somebody is invited."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("org_invitations", sa.Column("language", sa.String(length=2), server_default="es", nullable=False))
