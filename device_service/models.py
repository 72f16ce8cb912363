"""Tables of the device service."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, Numeric, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from common.database import Entity, one_of, service_registry

SIGNAL_UNITS = {"ECG": "mV", "HR": "bpm", "SpO2": "%", "HRV": "ms", "BP": "mmHg", "TEMP": "°C", "RESP": "/min"}
"""The signal types, each with the unit that a stream has unless it says another."""
HEALTH_STATUSES = ("up", "down", "error", "degraded")


class Base(DeclarativeBase):
    """The base of this service's models."""

    registry = service_registry()


class DeviceType(Entity, Base):
    """A kind of device and the signals it measures; shared by all organisations when `org_id` is null."""

    __tablename__ = "device_types"
    __table_args__ = (UniqueConstraint("org_id", "code", postgresql_nulls_not_distinct=True),)

    org_id: Mapped[UUID | None]
    code: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(120))
    signal_types: Mapped[list[str]] = mapped_column(ARRAY(String(10)))


class Device(Entity, Base):
    """A physical device of an organisation."""

    __tablename__ = "devices"
    __table_args__ = (UniqueConstraint("serial"), Index("ix_devices_org_id_id", "org_id", "id"))

    org_id: Mapped[UUID]
    device_type_id: Mapped[UUID] = mapped_column(ForeignKey("device_types.id"), index=True)
    serial: Mapped[str] = mapped_column(String(80))
    brand: Mapped[str | None] = mapped_column(String(80))
    model: Mapped[str | None] = mapped_column(String(80))
    active: Mapped[bool] = mapped_column(default=True)

    device_type: Mapped[DeviceType] = relationship(lazy="joined")

    @property
    def type(self) -> str:
        """The code of the device's type."""
        return self.device_type.code

    def change(self, **values: Any) -> list[str]:
        """Set the given fields; returns the names of those that changed."""
        changed = [name for name, value in values.items() if getattr(self, name) != value]
        for name in changed:
            setattr(self, name, values[name])
        return changed


class DeviceAssignment(Entity, Base):
    """A device on a patient from `starts_at` until `ends_at` (null: still); a device has one patient at a time."""

    __tablename__ = "device_assignments"
    __table_args__ = (
        CheckConstraint("ends_at > starts_at", name="order"),
        ExcludeConstraint(
            ("device_id", "="),
            (text("tstzrange(starts_at, ends_at)"), "&&"),
            name="ex_device_assignments_overlap",
            using="gist",
        ),
    )

    org_id: Mapped[UUID]
    device_id: Mapped[UUID] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    patient_id: Mapped[UUID] = mapped_column(index=True)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]


class DeviceHealth(Entity, Base):
    """What a device, or its gateway, said about its own state."""

    __tablename__ = "device_health"
    __table_args__ = (
        one_of("status", HEALTH_STATUSES),
        CheckConstraint("battery_percent BETWEEN 0 AND 100", name="battery"),
        Index("ix_device_health_device_id_id", "device_id", "id"),
    )

    org_id: Mapped[UUID]
    device_id: Mapped[UUID] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(String(10))
    battery_percent: Mapped[int | None]
    signal_dbm: Mapped[int | None]
    firmware: Mapped[str | None] = mapped_column(String(40))
    note: Mapped[str | None] = mapped_column(String(200))
    reported_at: Mapped[datetime]


class SignalStream(Entity, Base):
    """One signal that a device measures on one patient; `sample_rate_hz` is nominal where readings are spot checks.

    `channel` tells leads of an ECG apart, and `systolic`, `diastolic`, `mean` of a blood pressure.
    """

    __tablename__ = "signal_streams"
    __table_args__ = (
        one_of("signal_type", tuple(SIGNAL_UNITS)),
        CheckConstraint("sample_rate_hz > 0", name="sample_rate"),
        CheckConstraint("ended_at > started_at", name="order"),
        Index(
            "uq_signal_streams_open",
            "device_id",
            "signal_type",
            "channel",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index("ix_signal_streams_org_id_patient_id", "org_id", "patient_id"),
    )

    org_id: Mapped[UUID]
    device_id: Mapped[UUID] = mapped_column(ForeignKey("devices.id"))
    patient_id: Mapped[UUID]
    signal_type: Mapped[str] = mapped_column(String(10))
    channel: Mapped[str] = mapped_column(String(40))
    unit: Mapped[str] = mapped_column(String(20))
    sample_rate_hz: Mapped[Decimal] = mapped_column(Numeric(10, 3))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    def end(self, at: datetime) -> dict[str, str]:
        """Take no samples after `at`; returns what changed."""
        self.ended_at = at
        return {"ended_at": at.astimezone(UTC).isoformat()}


class TimeseriesBinding(Entity, Base):
    """Where a stream's samples are kept."""

    __tablename__ = "timeseries_binding"
    __table_args__ = (UniqueConstraint("stream_id", "bucket", "measurement"),)

    org_id: Mapped[UUID]
    stream_id: Mapped[UUID] = mapped_column(ForeignKey("signal_streams.id", ondelete="CASCADE"))
    bucket: Mapped[str] = mapped_column(String(64))
    measurement: Mapped[str] = mapped_column(String(64))

    stream: Mapped[SignalStream] = relationship(lazy="joined")
    binding_tags: Mapped[list[TimeseriesBindingTag]] = relationship(lazy="selectin", cascade="all, delete-orphan")

    @property
    def tags(self) -> dict[str, str]:
        """The tags that the series carries: what erasure and search need, then the binding's own."""
        own = {tag.key: tag.value for tag in self.binding_tags}
        stream = self.stream
        identity = {
            "org_id": str(self.org_id),
            "patient_id": str(stream.patient_id),
            "device_id": str(stream.device_id),
            "stream_id": str(self.stream_id),
            "signal_type": stream.signal_type,
        }
        return own | identity | ({"channel": stream.channel} if stream.channel else {})


RESERVED_TAGS = ("org_id", "patient_id", "device_id", "stream_id", "signal_type", "channel")


class TimeseriesBindingTag(Base):
    """A tag of a binding beyond those that say whose it is."""

    __tablename__ = "timeseries_binding_tag"
    __table_args__ = (
        CheckConstraint(
            f"key NOT IN ({', '.join(repr(tag) for tag in RESERVED_TAGS)})",
            name="reserved",
        ),
    )

    binding_id: Mapped[UUID] = mapped_column(ForeignKey("timeseries_binding.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(60), primary_key=True)
    org_id: Mapped[UUID]
    value: Mapped[str] = mapped_column(String(200))
