"""Profiles, preferences, memberships and devices of people."""

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
        "user_devices",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("platform", sa.String(length=10), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("fingerprint", sa.String(length=200), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("platform IN ('android', 'ios', 'web')", name=op.f("ck_user_devices_platform")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_devices")),
        sa.UniqueConstraint("user_id", "fingerprint", name=op.f("uq_user_devices_user_id_fingerprint")),
    )
    op.create_table(
        "user_org_membership",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_org_membership")),
        sa.UniqueConstraint("org_id", "user_id", "role", name=op.f("uq_user_org_membership_org_id_user_id_role")),
    )
    op.create_index("ix_user_org_membership_user_id", "user_org_membership", ["user_id"], unique=False)
    op.create_table(
        "user_preferences",
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("channels", sa.ARRAY(sa.String(length=10)), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("quiet_from", sa.String(length=5), nullable=True),
        sa.Column("quiet_until", sa.String(length=5), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("language IN ('es', 'en')", name=op.f("ck_user_preferences_language")),
        sa.CheckConstraint(
            "(quiet_from IS NULL) = (quiet_until IS NULL)", name=op.f("ck_user_preferences_quiet_hours")
        ),
        sa.CheckConstraint("cardinality(channels) > 0", name=op.f("ck_user_preferences_channels")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_preferences")),
    )
    op.create_table(
        "user_profiles",
        sa.Column("display_name", sa.String(length=100), nullable=True),
        sa.Column("job_title", sa.String(length=100), nullable=True),
        sa.Column("phone", sa.String(length=30), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_profiles")),
    )
    enable_row_security("user_org_membership")
    show_to_members_organizations("user_profiles", "id")
    show_to_members_organizations("user_preferences", "id")
    show_to_members_organizations("user_devices", "user_id")


def show_to_members_organizations(table: str, person: str) -> None:
    """Show what belongs to a person, who may be in several organisations, to each of these and to no other.

    The memberships are themselves behind row-level security: the caller's organisation's are the only ones found.
    """
    is_member = f"EXISTS (SELECT FROM user_org_membership m WHERE m.user_id = {table}.{person})"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY organization ON {table} USING (current_setting('app.org_id', true) = 'all' OR {is_member})"
    )
