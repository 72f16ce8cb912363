"""An index of the critical alarms that nobody has acknowledged: they are counted every few seconds."""

import sqlalchemy as sa
from alembic import op

from common.migrations import create_index_under_load

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade():
    create_index_under_load(
        "ix_alerts_critical",
        "alerts",
        ["paged_at"],
        postgresql_where=sa.text("level = 'critical' AND status IN ('created', 'notified')"),
    )


def downgrade():
    op.drop_index("ix_alerts_critical", "alerts")
