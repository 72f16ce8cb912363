"""Tables of the time-series service: where streams are kept. The samples themselves are in the engine."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, Double, Index, String, UniqueConstraint, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column

from common.database import Entity, service_registry
from common.rules import RulesOfOrganization


class Base(DeclarativeBase):
    """The base of this service's models."""

    registry = service_registry()


class Bucket(Entity, Base):
    """A named container of samples and how long it keeps them at most (null: as long as the organisation).

    This row is the truth and the engine follows it; `deleted_at` stands until the engine has let go of the samples.
    """

    __tablename__ = "buckets"
    __table_args__ = (
        UniqueConstraint("org_id", "name"),
        CheckConstraint("retention_days > 0", name="retention"),
        Index("ix_buckets_org_id_id", "org_id", "id"),
    )

    org_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(64))
    retention_days: Mapped[int | None]
    deleted_at: Mapped[datetime | None]

    organization_days: ClassVar[Mapped[int | None]]

    @property
    def kept_days(self) -> int | None:
        """How long samples stay here: as the bucket says, never longer than the organisation does."""
        return min((days for days in (self.retention_days, self.organization_days) if days is not None), default=None)

    @property
    def retention_seconds(self) -> int | None:
        """What the engine calls the retention."""
        return None if self.kept_days is None else self.kept_days * 86_400


class OrganizationRules(RulesOfOrganization, Base):
    """How long an organisation keeps samples at most."""

    retention_days: Mapped[int]


Bucket.organization_days = column_property(
    select(OrganizationRules.retention_days).where(OrganizationRules.org_id == Bucket.org_id).scalar_subquery()
)


class StreamEnd(Base):
    """When a stream ended; apart from its bindings, because the news may come first."""

    __tablename__ = "stream_ends"

    stream_id: Mapped[UUID] = mapped_column(primary_key=True)
    org_id: Mapped[UUID]
    ended_at: Mapped[datetime]


class StreamBinding(Base):
    """A stream's place, as the device service told it; `id` is the binding's there."""

    __tablename__ = "stream_bindings"
    __table_args__ = (
        Index("ix_stream_bindings_stream_id", "stream_id"),
        Index("ix_stream_bindings_org_id_bucket", "org_id", "bucket"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    org_id: Mapped[UUID]
    stream_id: Mapped[UUID]
    device_id: Mapped[UUID]
    patient_id: Mapped[UUID] = mapped_column(index=True)
    signal_type: Mapped[str] = mapped_column(String(10))
    channel: Mapped[str] = mapped_column(String(40))
    unit: Mapped[str] = mapped_column(String(20))
    sample_rate_hz: Mapped[float] = mapped_column(Double)
    bucket: Mapped[str] = mapped_column(String(64))
    measurement: Mapped[str] = mapped_column(String(64))
    tags: Mapped[dict[str, Any]] = mapped_column(JSONB)
    started_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    ended_at: ClassVar[Mapped[datetime | None]]


StreamBinding.ended_at = column_property(
    select(StreamEnd.ended_at).where(StreamEnd.stream_id == StreamBinding.stream_id).scalar_subquery()
)
