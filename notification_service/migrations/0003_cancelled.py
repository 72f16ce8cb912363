"""A delivery that waited until nobody needed it any more."""

import sqlalchemy as sa

from common.migrations import insert_catalogue

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    columns = [sa.column(name, sa.Text()) for name in ("code", "label_es", "label_en")]
    row = {"code": "CANCELLED", "label_es": "Cancelada", "label_en": "Cancelled", "position": 6}
    insert_catalogue(sa.table("delivery_statuses", *columns, sa.column("position", sa.Integer())), [row])
