"""Files and their tags."""

import sqlalchemy as sa
from alembic import op

from common.migrations import create_message_tables, enable_row_security

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_message_tables()
    op.create_table(
        "media_assets",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("owner_kind", sa.String(length=20), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("filename", sa.String(length=200), nullable=False),
        sa.Column("content_type", sa.String(length=60), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("uploaded_by", sa.Uuid(), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "content_type IN ('application/dicom', 'application/octet-stream', 'application/pdf', 'audio/wav',"
            " 'image/jpeg', 'image/png', 'image/webp', 'text/csv', 'text/plain', 'video/mp4')",
            name=op.f("ck_media_assets_content_type"),
        ),
        sa.CheckConstraint(
            "owner_kind IN ('patient', 'user', 'organization', 'alert', 'device')",
            name=op.f("ck_media_assets_owner_kind"),
        ),
        sa.CheckConstraint("status IN ('pending', 'ready')", name=op.f("ck_media_assets_status")),
        sa.CheckConstraint("size_bytes > 0", name=op.f("ck_media_assets_size_bytes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_media_assets")),
    )
    op.create_index("ix_media_assets_org_id_id", "media_assets", ["org_id", "id"], unique=False)
    op.create_index("ix_media_assets_org_id_owner_id_id", "media_assets", ["org_id", "owner_id", "id"], unique=False)
    op.create_index("ix_media_assets_removed_at", "media_assets", ["removed_at"], unique=False)
    op.create_table(
        "media_tags",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("asset_id", sa.Uuid(), nullable=False),
        sa.Column("tag", sa.String(length=60), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["asset_id"], ["media_assets.id"], name=op.f("fk_media_tags_asset_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_media_tags")),
        sa.UniqueConstraint("asset_id", "tag", name=op.f("uq_media_tags_asset_id_tag")),
    )
    op.create_index("ix_media_tags_org_id_tag", "media_tags", ["org_id", "tag"], unique=False)
    enable_row_security("media_assets", "media_tags")
