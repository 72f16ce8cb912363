"""Alerts, their life and timeline, policies, and the catalogues with their words."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from uuid6 import uuid7

from common.migrations import create_message_tables, enable_row_security, insert_catalogue

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LEVELS = [
    ("low", "Baja", "Low"),
    ("medium", "Media", "Medium"),
    ("high", "Alta", "High"),
    ("critical", "Crítica", "Critical"),
]
CATALOGUES = {
    "alert_levels": LEVELS,
    "risk_levels": [("low", "Bajo", "Low"), ("medium", "Medio", "Medium"), ("high", "Alto", "High")],
    "alert_status": [
        ("created", "Creada", "Created"),
        ("notified", "Notificada", "Notified"),
        ("ack", "Confirmada", "Acknowledged"),
        ("resolved", "Resuelta", "Resolved"),
        ("closed", "Cerrada", "Closed"),
    ],
    "alert_channels": [
        ("SMS", "Mensaje SMS", "SMS"),
        ("EMAIL", "Correo electrónico", "E-mail"),
        ("PUSH", "Notificación en el teléfono", "Push notification"),
        ("WEBHOOK", "Aviso a otro sistema", "Webhook"),
        ("LOG", "Registro de operadores", "Operators' log"),
    ],
}
# code, Spanish, English, default, minimum, maximum
TYPES = [
    ("GENERAL_RISK", "Riesgo general", "General risk", "medium", "low", "critical"),
    ("ARRHYTHMIA", "Arritmia", "Arrhythmia", "high", "medium", "critical"),
    ("DESAT", "Desaturación de oxígeno", "Oxygen desaturation", "high", "low", "critical"),
    ("HYPERTENSION", "Hipertensión", "Hypertension", "medium", "medium", "critical"),
    ("HYPOTENSION", "Hipotensión", "Hypotension", "high", "medium", "critical"),
    ("FEVER", "Fiebre", "Fever", "medium", "low", "high"),
    ("HYPOTHERMIA", "Hipotermia", "Hypothermia", "high", "medium", "critical"),
    ("SIGNAL_LOST", "Señal perdida", "Signal lost", "medium", "low", "high"),
]
# Engineering values, to be confirmed by a clinician; an organisation's own policy comes before them.
DEFAULT_POLICY = {
    "channels": {level: ["EMAIL", "LOG"] for level in ("medium", "high", "critical")},
    "escalation_minutes": {"medium": 30, "high": 10, "critical": 5},
    "hold_off_minutes": 10,
    "max_escalations": 3,
    "max_shelve_minutes": 240,
}


def catalogue(name: str, *more: str) -> sa.TableClause:
    columns: list[sa.ColumnClause] = [
        sa.column(column) for column in ("code", "label_es", "label_en", "position", *more)
    ]
    return sa.table(name, *columns)


def insert_catalogues() -> None:
    for name, entries in CATALOGUES.items():
        rows = [
            {"code": code, "label_es": es, "label_en": en, "position": position}
            for position, (code, es, en) in enumerate(entries, 1)
        ]
        insert_catalogue(catalogue(name), rows)
    levels = ("default_level", "min_level", "max_level")
    keys = ("code", "label_es", "label_en", *levels)
    rows = [dict(zip(keys, entry, strict=True)) | {"position": position} for position, entry in enumerate(TYPES, 1)]
    insert_catalogue(catalogue("alert_types", *levels), rows)


def insert_default_policy() -> None:
    policies = sa.table(
        "alert_policies",
        sa.column("id", sa.Uuid()),
        sa.column("version"),
        sa.column("channels", postgresql.JSONB()),
        sa.column("escalation_minutes", postgresql.JSONB()),
        sa.column("hold_off_minutes"),
        sa.column("max_escalations"),
        sa.column("max_shelve_minutes"),
    )
    op.bulk_insert(policies, [{"id": uuid7(), "version": 1, **DEFAULT_POLICY}])


def upgrade() -> None:
    create_message_tables()
    op.create_table(
        "alert_channels",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("label_es", sa.String(length=80), nullable=False),
        sa.Column("label_en", sa.String(length=80), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_alert_channels")),
    )
    op.create_table(
        "alert_levels",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("label_es", sa.String(length=80), nullable=False),
        sa.Column("label_en", sa.String(length=80), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_alert_levels")),
    )
    op.create_table(
        "alert_status",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("label_es", sa.String(length=80), nullable=False),
        sa.Column("label_en", sa.String(length=80), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_alert_status")),
    )
    op.create_table(
        "risk_levels",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("label_es", sa.String(length=80), nullable=False),
        sa.Column("label_en", sa.String(length=80), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_risk_levels")),
    )
    op.create_table(
        "alert_types",
        sa.Column("default_level", sa.String(length=40), nullable=False),
        sa.Column("min_level", sa.String(length=40), nullable=False),
        sa.Column("max_level", sa.String(length=40), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("label_es", sa.String(length=80), nullable=False),
        sa.Column("label_en", sa.String(length=80), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["default_level"], ["alert_levels.code"], name=op.f("fk_alert_types_default_level")),
        sa.ForeignKeyConstraint(["max_level"], ["alert_levels.code"], name=op.f("fk_alert_types_max_level")),
        sa.ForeignKeyConstraint(["min_level"], ["alert_levels.code"], name=op.f("fk_alert_types_min_level")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_alert_types")),
    )
    op.create_table(
        "alert_policies",
        sa.Column("org_id", sa.Uuid(), nullable=True),
        sa.Column("alert_type", sa.String(length=40), nullable=True),
        sa.Column("channels", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("escalation_minutes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("hold_off_minutes", sa.Integer(), nullable=False),
        sa.Column("max_escalations", sa.Integer(), nullable=False),
        sa.Column("max_shelve_minutes", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("hold_off_minutes >= 0", name=op.f("ck_alert_policies_hold_off_minutes")),
        sa.CheckConstraint("max_escalations >= 0", name=op.f("ck_alert_policies_max_escalations")),
        sa.CheckConstraint("max_shelve_minutes > 0", name=op.f("ck_alert_policies_max_shelve_minutes")),
        sa.ForeignKeyConstraint(["alert_type"], ["alert_types.code"], name=op.f("fk_alert_policies_alert_type")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_policies")),
        sa.UniqueConstraint(
            "org_id", "alert_type", name=op.f("uq_alert_policies_org_id_alert_type"), postgresql_nulls_not_distinct=True
        ),
    )
    op.create_table(
        "alerts",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("level", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("inference_id", sa.Uuid(), nullable=True),
        sa.Column("episode_id", sa.Uuid(), nullable=True),
        sa.Column("stream_id", sa.Uuid(), nullable=True),
        sa.Column("device_id", sa.Uuid(), nullable=True),
        sa.Column("model", sa.String(length=120), nullable=True),
        sa.Column("duplicate_of", sa.Uuid(), nullable=True),
        sa.Column("latitude", sa.Double(), nullable=True),
        sa.Column("longitude", sa.Double(), nullable=True),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.String(length=1000), nullable=True),
        sa.Column("assigned_to", sa.Uuid(), nullable=True),
        sa.Column("paged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("episode_over_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("escalations", sa.Integer(), nullable=False),
        sa.Column("escalate_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shelved_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("(source = 'inference') = (inference_id IS NOT NULL)", name=op.f("ck_alerts_inference")),
        sa.CheckConstraint("source IN ('inference', 'manual')", name=op.f("ck_alerts_source")),
        sa.CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name=op.f("ck_alerts_location")),
        sa.CheckConstraint("latitude BETWEEN -90 AND 90", name=op.f("ck_alerts_latitude")),
        sa.CheckConstraint("longitude BETWEEN -180 AND 180", name=op.f("ck_alerts_longitude")),
        sa.ForeignKeyConstraint(["duplicate_of"], ["alerts.id"], name=op.f("fk_alerts_duplicate_of")),
        sa.ForeignKeyConstraint(["level"], ["alert_levels.code"], name=op.f("fk_alerts_level")),
        sa.ForeignKeyConstraint(["status"], ["alert_status.code"], name=op.f("fk_alerts_status")),
        sa.ForeignKeyConstraint(["type"], ["alert_types.code"], name=op.f("fk_alerts_type")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("org_id", "episode_id", "type", name=op.f("uq_alerts_org_id_episode_id_type")),
        sa.UniqueConstraint("org_id", "inference_id", "type", name=op.f("uq_alerts_org_id_inference_id_type")),
    )
    op.create_index(op.f("ix_alerts_duplicate_of"), "alerts", ["duplicate_of"], unique=False)
    op.create_index(
        "ix_alerts_escalate_at",
        "alerts",
        ["escalate_at"],
        unique=False,
        postgresql_where=sa.text("escalate_at IS NOT NULL"),
    )
    op.create_index("ix_alerts_org_id_id", "alerts", ["org_id", "id"], unique=False)
    op.create_index("ix_alerts_patient", "alerts", ["org_id", "patient_id", "type", "observed_at"], unique=False)
    op.create_table(
        "alert_ack",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("level", sa.String(length=40), nullable=False),
        sa.Column("note", sa.String(length=1000), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name=op.f("fk_alert_ack_alert_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["level"], ["alert_levels.code"], name=op.f("fk_alert_ack_level")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_ack")),
    )
    op.create_index(op.f("ix_alert_ack_alert_id"), "alert_ack", ["alert_id"], unique=False)
    op.create_table(
        "alert_assignment",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("assigned_by", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_alert_assignment_alert_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_assignment")),
    )
    op.create_index(op.f("ix_alert_assignment_alert_id"), "alert_assignment", ["alert_id"], unique=False)
    op.create_table(
        "alert_resolution",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("note", sa.String(length=1000), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('true_alarm', 'false_alarm', 'technical')", name=op.f("ck_alert_resolution_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_alert_resolution_alert_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_resolution")),
    )
    op.create_index(op.f("ix_alert_resolution_alert_id"), "alert_resolution", ["alert_id"], unique=False)
    op.create_table(
        "alert_timeline",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.String(length=40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.String(length=160), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("note", sa.String(length=1000), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_alert_timeline_alert_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_timeline")),
    )
    op.create_index("ix_alert_timeline_alert_id_at", "alert_timeline", ["alert_id", "at"], unique=False)
    insert_catalogues()
    insert_default_policy()
    enable_row_security(
        "alerts",
        "alert_ack",
        "alert_assignment",
        "alert_resolution",
        "alert_timeline",
        "alert_policies",
    )
    # Everybody reads the suite's default policy; no organisation can change it.
    op.execute("CREATE POLICY suite_default ON alert_policies FOR SELECT USING (org_id IS NULL)")
