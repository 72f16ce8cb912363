"""Organisations, their rules, contacts, roles, invitations and brands."""

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
        "organizations",
        sa.Column("org_id", sa.Uuid(), sa.Computed("id", persisted=True), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=False),
        sa.Column("name", sa.String(length=160), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("code", name=op.f("uq_organizations_code")),
    )
    op.create_table(
        "org_brands",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("primary_color", sa.String(length=7), nullable=False),
        sa.Column("secondary_color", sa.String(length=7), nullable=False),
        sa.Column("logo_media_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("primary_color ~ '^#[0-9a-f]{6}$'", name=op.f("ck_org_brands_primary_color")),
        sa.CheckConstraint("secondary_color ~ '^#[0-9a-f]{6}$'", name=op.f("ck_org_brands_secondary_color")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_org_brands_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_org_brands")),
        sa.UniqueConstraint("org_id", name=op.f("uq_org_brands_org_id")),
    )
    op.create_table(
        "org_contacts",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("function", sa.String(length=80), nullable=True),
        sa.Column("email", sa.String(length=150), nullable=True),
        sa.Column("phone", sa.String(length=30), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("email IS NOT NULL OR phone IS NOT NULL", name=op.f("ck_org_contacts_reachable")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_org_contacts_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_org_contacts")),
    )
    op.create_index(op.f("ix_org_contacts_org_id"), "org_contacts", ["org_id"], unique=False)
    op.create_table(
        "org_invitations",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(length=150), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("base_role", sa.String(length=40), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("invited_by", sa.Uuid(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("used_by", sa.Uuid(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "base_role IN ('org_admin', 'clinician', 'caregiver', 'patient', 'org_viewer')",
            name=op.f("ck_org_invitations_base_role"),
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_org_invitations_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_org_invitations")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_org_invitations_token_hash")),
    )
    op.create_index(op.f("ix_org_invitations_org_id"), "org_invitations", ["org_id"], unique=False)
    op.create_table(
        "org_roles",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("base_role", sa.String(length=40), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "base_role IN ('org_admin', 'clinician', 'caregiver', 'patient', 'org_viewer')",
            name=op.f("ck_org_roles_base_role"),
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_org_roles_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_org_roles")),
        sa.UniqueConstraint("org_id", "code", name=op.f("uq_org_roles_org_id_code")),
    )
    op.create_table(
        "org_settings",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("locale", sa.String(length=2), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("retention_days", sa.Integer(), nullable=False),
        sa.Column("quiet_from", sa.String(length=5), nullable=True),
        sa.Column("quiet_until", sa.String(length=5), nullable=True),
        sa.Column("second_factor_required", sa.Boolean(), nullable=False),
        sa.Column("patient_scope", sa.String(length=20), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("locale IN ('es', 'en')", name=op.f("ck_org_settings_locale")),
        sa.CheckConstraint(
            "patient_scope IN ('care_team', 'organization')", name=op.f("ck_org_settings_patient_scope")
        ),
        sa.CheckConstraint("(quiet_from IS NULL) = (quiet_until IS NULL)", name=op.f("ck_org_settings_quiet_hours")),
        sa.CheckConstraint("retention_days BETWEEN 30 AND 36500", name=op.f("ck_org_settings_retention_days")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_org_settings_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_org_settings")),
        sa.UniqueConstraint("org_id", name=op.f("uq_org_settings_org_id")),
    )
    enable_row_security("organizations", "org_settings", "org_contacts", "org_roles", "org_invitations", "org_brands")
