"""Device types, devices, assignments, health, signal streams and their bindings."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from uuid6 import uuid7

from common.migrations import create_message_tables, enable_row_security, insert_catalogue

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


SHARED_TYPES = {
    "ECG_1LEAD": ("Electrocardiógrafo de una derivación", ["ECG", "HR", "HRV", "RESP"]),
    "PULSE_OX": ("Pulsioxímetro", ["SpO2", "HR"]),
    "BP_CUFF": ("Tensiómetro de brazalete", ["BP", "HR"]),
    "THERMOMETER": ("Termómetro", ["TEMP"]),
    "WEARABLE": ("Dispositivo ponible", ["ECG", "HR", "SpO2", "HRV", "BP", "TEMP", "RESP"]),
}


def upgrade() -> None:
    create_message_tables()
    device_types = op.create_table(
        "device_types",
        sa.Column("org_id", sa.Uuid(), nullable=True),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("signal_types", sa.ARRAY(sa.String(length=10)), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_types")),
        sa.UniqueConstraint(
            "org_id", "code", name=op.f("uq_device_types_org_id_code"), postgresql_nulls_not_distinct=True
        ),
    )
    op.create_table(
        "devices",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("device_type_id", sa.Uuid(), nullable=False),
        sa.Column("serial", sa.String(length=80), nullable=False),
        sa.Column("brand", sa.String(length=80), nullable=True),
        sa.Column("model", sa.String(length=80), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["device_type_id"], ["device_types.id"], name=op.f("fk_devices_device_type_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
        sa.UniqueConstraint("serial", name=op.f("uq_devices_serial")),
    )
    op.create_index(op.f("ix_devices_device_type_id"), "devices", ["device_type_id"], unique=False)
    op.create_index("ix_devices_org_id_id", "devices", ["org_id", "id"], unique=False)
    op.create_table(
        "device_assignments",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("device_id"), "="),
            (sa.text("tstzrange(starts_at, ends_at)"), "&&"),
            using="gist",
            name="ex_device_assignments_overlap",
        ),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_device_assignments_order")),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_device_assignments_device_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_assignments")),
    )
    op.create_index(op.f("ix_device_assignments_patient_id"), "device_assignments", ["patient_id"], unique=False)
    op.create_table(
        "device_health",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("battery_percent", sa.Integer(), nullable=True),
        sa.Column("signal_dbm", sa.Integer(), nullable=True),
        sa.Column("firmware", sa.String(length=40), nullable=True),
        sa.Column("note", sa.String(length=200), nullable=True),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("status IN ('up', 'down', 'error', 'degraded')", name=op.f("ck_device_health_status")),
        sa.CheckConstraint("battery_percent BETWEEN 0 AND 100", name=op.f("ck_device_health_battery")),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_device_health_device_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_health")),
    )
    op.create_index("ix_device_health_device_id_id", "device_health", ["device_id", "id"], unique=False)
    op.create_table(
        "signal_streams",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("signal_type", sa.String(length=10), nullable=False),
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("unit", sa.String(length=20), nullable=False),
        sa.Column("sample_rate_hz", sa.Numeric(precision=10, scale=3), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "signal_type IN ('ECG', 'HR', 'SpO2', 'HRV', 'BP', 'TEMP', 'RESP')",
            name=op.f("ck_signal_streams_signal_type"),
        ),
        sa.CheckConstraint("ended_at > started_at", name=op.f("ck_signal_streams_order")),
        sa.CheckConstraint("sample_rate_hz > 0", name=op.f("ck_signal_streams_sample_rate")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_signal_streams_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signal_streams")),
    )
    op.create_index("ix_signal_streams_org_id_patient_id", "signal_streams", ["org_id", "patient_id"], unique=False)
    op.create_index(
        "uq_signal_streams_open",
        "signal_streams",
        ["device_id", "signal_type", "channel"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "timeseries_binding",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("bucket", sa.String(length=64), nullable=False),
        sa.Column("measurement", sa.String(length=64), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["signal_streams.id"], name=op.f("fk_timeseries_binding_stream_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_timeseries_binding")),
        sa.UniqueConstraint(
            "stream_id", "bucket", "measurement", name=op.f("uq_timeseries_binding_stream_id_bucket_measurement")
        ),
    )
    op.create_table(
        "timeseries_binding_tag",
        sa.Column("binding_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=60), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("value", sa.String(length=200), nullable=False),
        sa.CheckConstraint(
            "key NOT IN ('org_id', 'patient_id', 'device_id', 'stream_id', 'signal_type', 'channel')",
            name=op.f("ck_timeseries_binding_tag_reserved"),
        ),
        sa.ForeignKeyConstraint(
            ["binding_id"],
            ["timeseries_binding.id"],
            name=op.f("fk_timeseries_binding_tag_binding_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("binding_id", "key", name=op.f("pk_timeseries_binding_tag")),
    )
    insert_catalogue(
        device_types,
        [
            {"id": uuid7(), "org_id": None, "code": code, "name": name, "signal_types": signals, "version": 1}
            for code, (name, signals) in SHARED_TYPES.items()
        ],
    )
    enable_row_security(
        "device_types",
        "devices",
        "device_assignments",
        "device_health",
        "signal_streams",
        "timeseries_binding",
        "timeseries_binding_tag",
    )
    # Everybody reads the shared types; the policy above lets nobody but the migrations change them.
    op.execute("CREATE POLICY shared ON device_types FOR SELECT USING (org_id IS NULL)")
