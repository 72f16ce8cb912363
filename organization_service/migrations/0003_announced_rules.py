"""In which form others were told an organisation's rules."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("org_settings", sa.Column("announced", sa.SmallInteger(), server_default="0", nullable=False))
