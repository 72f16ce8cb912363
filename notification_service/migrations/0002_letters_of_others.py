"""Which service knows what a letter says."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("account_mails", sa.Column("author", sa.String(length=20), server_default="auth", nullable=False))
