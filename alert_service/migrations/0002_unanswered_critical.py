"""An index of the critical alarms that nobody has acknowledged: they are counted every few seconds."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade():
    op.create_index(
        "ix_alerts_critical",
        "alerts",
        ["paged_at"],
        postgresql_where=sa.text("level = 'critical' AND status IN ('created', 'notified')"),
    )


def downgrade():
    op.drop_index("ix_alerts_critical", "alerts")
