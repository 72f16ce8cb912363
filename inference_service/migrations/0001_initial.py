"""Models, event types, inferences, ground truth, patients' profiles, monitors and episodes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from uuid6 import uuid7

from common.migrations import create_message_tables, enable_row_security, insert_catalogue

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


EVENT_TYPES = (
    # code, name, default level, least, greatest
    ("GENERAL_RISK", "Riesgo general", "medium", "low", "critical"),
    ("ARRHYTHMIA", "Arritmia", "high", "medium", "critical"),
    ("DESAT", "Desaturación", "high", "low", "critical"),
    ("HYPERTENSION", "Hipertensión", "medium", "medium", "critical"),
    ("HYPOTENSION", "Hipotensión", "high", "medium", "critical"),
    ("FEVER", "Fiebre", "medium", "low", "high"),
    ("HYPOTHERMIA", "Hipotermia", "high", "medium", "critical"),
    ("SIGNAL_LOST", "Señal perdida", "medium", "low", "high"),
)
MODELS = (
    ("news2", "NEWS2 (Royal College of Physicians, 2017): riesgo general a partir de las constantes vitales."),
    ("vital_limits", "Cada constante vital frente a sus límites, con persistencia e histéresis."),
    ("ecg_rhythm", "Ritmo en el ECG: frecuencia, pausas, fibrilación auricular y ritmos letales."),
)
# What a validated version says must stay true of every inference that names it.
VALIDATED_IS_FIXED = """
CREATE FUNCTION keep_validated_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    free text[] := ARRAY['stage', 'updated_at', 'version'];
BEGIN
    IF TG_OP = 'DELETE' OR to_jsonb(NEW) - free <> to_jsonb(OLD) - free THEN
        RAISE EXCEPTION 'model version % is validated and cannot change', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_validated_version BEFORE UPDATE OR DELETE ON model_versions
    FOR EACH ROW WHEN (OLD.validated_at IS NOT NULL) EXECUTE FUNCTION keep_validated_version();
"""
SHARED = ("models", "model_versions", "event_types")


def upgrade() -> None:
    create_message_tables()
    op.create_table(
        "episodes",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("event_type", sa.String(length=40), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=True),
        sa.Column("state", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("sampled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told_stale", sa.Boolean(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_episodes")),
        sa.UniqueConstraint(
            "patient_id",
            "event_type",
            "stream_id",
            name=op.f("uq_episodes_patient_id_event_type_stream_id"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index("ix_episodes_org_id", "episodes", ["org_id"], unique=False)
    op.create_table(
        "event_types",
        sa.Column("org_id", sa.Uuid(), nullable=True),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("default_level", sa.String(length=10), nullable=False),
        sa.Column("min_level", sa.String(length=10), nullable=False),
        sa.Column("max_level", sa.String(length=10), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "default_level IN ('low', 'medium', 'high', 'critical')", name=op.f("ck_event_types_default_level")
        ),
        sa.CheckConstraint("max_level IN ('low', 'medium', 'high', 'critical')", name=op.f("ck_event_types_max_level")),
        sa.CheckConstraint("min_level IN ('low', 'medium', 'high', 'critical')", name=op.f("ck_event_types_min_level")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_types")),
        sa.UniqueConstraint(
            "org_id", "code", name=op.f("uq_event_types_org_id_code"), postgresql_nulls_not_distinct=True
        ),
    )
    op.create_table(
        "models",
        sa.Column("org_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("description", sa.String(length=500), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_models_org_id_name"), postgresql_nulls_not_distinct=True),
    )
    op.create_table(
        "monitors",
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=True),
        sa.Column("device_id", sa.Uuid(), nullable=True),
        sa.Column("signal_type", sa.String(length=10), nullable=True),
        sa.Column("channel", sa.String(length=40), nullable=True),
        sa.Column("unit", sa.String(length=20), nullable=True),
        sa.Column("sample_rate_hz", sa.Double(), nullable=True),
        sa.Column("step_s", sa.Double(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("written_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("written_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cursor", sa.DateTime(timezone=True), nullable=True),
        sa.Column("gaps", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("news_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("news_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("latest_value", sa.Double(), nullable=True),
        sa.Column("latest_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bound_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("request_id", sa.String(length=128), server_default="", nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_owner", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("bound_at IS NULL OR signal_type IS NOT NULL", name=op.f("ck_monitors_bound")),
        sa.PrimaryKeyConstraint("stream_id", name=op.f("pk_monitors")),
    )
    op.create_index("ix_monitors_claimed_at", "monitors", ["claimed_at"], unique=False)
    op.create_index("ix_monitors_patient_id", "monitors", ["patient_id"], unique=False)
    op.create_table(
        "patient_profiles",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("birthdate", sa.Date(), nullable=True),
        sa.Column("pregnant", sa.Boolean(), nullable=False),
        sa.Column("spo2_scale", sa.Integer(), nullable=False),
        sa.Column("on_oxygen", sa.Boolean(), nullable=True),
        sa.Column("on_oxygen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("consciousness", sa.String(length=1), nullable=True),
        sa.Column("consciousness_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("known_af", sa.Boolean(), nullable=False),
        sa.Column("pacemaker", sa.Boolean(), nullable=False),
        sa.Column("symptoms", sa.Boolean(), nullable=False),
        sa.Column("limits", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "consciousness IN ('A', 'C', 'V', 'P', 'U')", name=op.f("ck_patient_profiles_consciousness")
        ),
        sa.CheckConstraint("spo2_scale IN (1, 2)", name=op.f("ck_patient_profiles_spo2_scale")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_profiles")),
        sa.UniqueConstraint("org_id", "patient_id", name=op.f("uq_patient_profiles_org_id_patient_id")),
    )
    op.create_table(
        "model_versions",
        sa.Column("org_id", sa.Uuid(), nullable=True),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("semver", sa.String(length=40), nullable=False),
        sa.Column("runtime", sa.String(length=10), nullable=False),
        sa.Column("entry_point", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("inputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("window_s", sa.Double(), nullable=False),
        sa.Column("step_s", sa.Double(), nullable=False),
        sa.Column("guard_s", sa.Double(), nullable=False),
        sa.Column("min_quality", sa.Double(), nullable=False),
        sa.Column("events", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("limits", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("stage", sa.String(length=12), nullable=False),
        sa.Column("validated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approver", sa.String(length=80), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("runtime IN ('builtin', 'onnx')", name=op.f("ck_model_versions_runtime")),
        sa.CheckConstraint("stage IN ('shadow', 'production', 'retired')", name=op.f("ck_model_versions_stage")),
        sa.CheckConstraint("(validated_at IS NULL) = (approver IS NULL)", name=op.f("ck_model_versions_approved")),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_model_versions_model_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_versions")),
        sa.UniqueConstraint("model_id", "semver", name=op.f("uq_model_versions_model_id_semver")),
    )
    op.create_table(
        "inferences",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("event_type", sa.String(length=40), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=True),
        sa.Column("score", sa.Numeric(precision=5, scale=4), nullable=True),
        sa.Column("threshold", sa.Numeric(precision=5, scale=4), nullable=True),
        sa.Column("quality", sa.Numeric(precision=5, scale=4), nullable=True),
        sa.Column("explanation", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("level IN ('low', 'medium', 'high', 'critical')", name=op.f("ck_inferences_level")),
        sa.CheckConstraint("status IN ('ok', 'abstain', 'error')", name=op.f("ck_inferences_status")),
        sa.CheckConstraint("score BETWEEN 0 AND 1", name=op.f("ck_inferences_score")),
        sa.CheckConstraint("threshold BETWEEN 0 AND 1", name=op.f("ck_inferences_threshold")),
        sa.CheckConstraint("window_end > window_start", name=op.f("ck_inferences_window")),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_versions.id"], name=op.f("fk_inferences_model_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inferences")),
        sa.UniqueConstraint(
            "stream_id",
            "window_start",
            "window_end",
            "event_type",
            name=op.f("uq_inferences_stream_id_window_start_window_end_event_type"),
        ),
    )
    op.create_index("ix_inferences_org_id_patient_id_id", "inferences", ["org_id", "patient_id", "id"], unique=False)
    op.create_table(
        "model_stages",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.String(length=12), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("stage IN ('shadow', 'production', 'retired')", name=op.f("ck_model_stages_stage")),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name=op.f("fk_model_stages_model_version_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_stages")),
        sa.UniqueConstraint("org_id", "model_version_id", name=op.f("uq_model_stages_org_id_model_version_id")),
    )
    op.create_table(
        "ground_truth_labels",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=True),
        sa.Column("inference_id", sa.Uuid(), nullable=True),
        sa.Column("event_type", sa.String(length=40), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("onset_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.String(length=500), nullable=True),
        sa.Column("labelled_by", sa.String(length=80), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("ended_at > onset_at", name=op.f("ck_ground_truth_labels_order")),
        sa.ForeignKeyConstraint(
            ["inference_id"], ["inferences.id"], name=op.f("fk_ground_truth_labels_inference_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ground_truth_labels")),
    )
    op.create_index(
        "ix_ground_truth_labels_org_id_patient_id",
        "ground_truth_labels",
        ["org_id", "patient_id", "event_type"],
        unique=False,
    )
    fields: tuple[str, ...] = ("id", "code", "name", "default_level", "min_level", "max_level", "version")
    event_types = sa.table("event_types", *(sa.column(name) for name in fields))
    rows = [dict(zip(fields, (uuid7(), *event_type, 1), strict=True)) for event_type in EVENT_TYPES]
    insert_catalogue(event_types, rows)
    fields = ("id", "name", "description", "version")
    models = sa.table("models", *(sa.column(name) for name in fields))
    insert_catalogue(models, [dict(zip(fields, (uuid7(), *model, 1), strict=True)) for model in MODELS])
    op.execute(VALIDATED_IS_FIXED)
    enable_row_security(
        *SHARED,
        "model_stages",
        "inferences",
        "ground_truth_labels",
        "patient_profiles",
        "monitors",
        "episodes",
    )
    # Everybody reads what is built in; the policy above lets nobody change it within an organisation.
    for name in SHARED:
        op.execute(f"CREATE POLICY shared ON {name} FOR SELECT USING (org_id IS NULL)")
