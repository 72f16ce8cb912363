"""Tables of the inference service. Rows without `org_id` are built in: every organisation reads them."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from common.database import Entity, one_of, service_registry

LEVELS = ("low", "medium", "high", "critical")
STAGES = ("shadow", "production", "retired")
RUNTIMES = ("builtin", "onnx")
STATUSES = ("ok", "abstain", "error")
CONSCIOUSNESS = ("A", "C", "V", "P", "U")
Score = Numeric(5, 4)


class Base(DeclarativeBase):
    """The base of this service's models."""

    registry = service_registry()


def change(row: Any, values: dict[str, Any]) -> list[str]:
    """Set the given fields of a row; returns the names of those that changed."""
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, values[name])
    return changed


class Model(Entity, Base):
    """A way to judge signals, in versions."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("org_id", "name", postgresql_nulls_not_distinct=True),)

    org_id: Mapped[UUID | None]
    name: Mapped[str] = mapped_column(String(60))
    description: Mapped[str] = mapped_column(String(500))


class ModelVersion(Entity, Base):
    """What exactly judged: once `validated_at` is set nothing but the stage changes (a trigger holds it)."""

    __tablename__ = "model_versions"
    __table_args__ = (
        UniqueConstraint("model_id", "semver"),
        one_of("runtime", RUNTIMES),
        one_of("stage", STAGES),
        CheckConstraint("(validated_at IS NULL) = (approver IS NULL)", name="approved"),
    )

    org_id: Mapped[UUID | None]
    model_id: Mapped[UUID] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    semver: Mapped[str] = mapped_column(String(40))
    runtime: Mapped[str] = mapped_column(String(10))
    entry_point: Mapped[str] = mapped_column(String(200))
    sha256: Mapped[str] = mapped_column(String(64))
    inputs: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    window_s: Mapped[float]
    step_s: Mapped[float]
    guard_s: Mapped[float]
    min_quality: Mapped[float]
    events: Mapped[list[str]] = mapped_column(JSONB)
    limits: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    metrics: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    stage: Mapped[str] = mapped_column(String(12))
    validated_at: Mapped[datetime | None]
    approver: Mapped[str | None] = mapped_column(String(80))

    model: Mapped[Model] = relationship(lazy="joined", innerjoin=True)
    own_stages: Mapped[list[ModelStage]] = relationship(lazy="selectin", viewonly=True)

    @property
    def effective_stage(self) -> str:
        """The stage in the organisation of the transaction, whose own stages are the only ones it sees."""
        return self.own_stages[0].stage if self.own_stages else self.stage

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.model.name} {self.semver}"


class ModelStage(Entity, Base):
    """The stage of a built-in version in one organisation, where it is not the version's own."""

    __tablename__ = "model_stages"
    __table_args__ = (UniqueConstraint("org_id", "model_version_id"), one_of("stage", STAGES))

    org_id: Mapped[UUID]
    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_versions.id", ondelete="CASCADE"))
    stage: Mapped[str] = mapped_column(String(12))


class EventType(Entity, Base):
    """A kind of clinical or technical event and the levels that its alerts may have."""

    __tablename__ = "event_types"
    __table_args__ = (
        UniqueConstraint("org_id", "code", postgresql_nulls_not_distinct=True),
        *(one_of(column, LEVELS) for column in ("default_level", "min_level", "max_level")),
    )

    org_id: Mapped[UUID | None]
    code: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(120))
    default_level: Mapped[str] = mapped_column(String(10))
    min_level: Mapped[str] = mapped_column(String(10))
    max_level: Mapped[str] = mapped_column(String(10))


class Inference(Entity, Base):
    """One event type judged in one window of a stream. `score` reaches `threshold` when a limit is crossed."""

    __tablename__ = "inferences"
    __table_args__ = (
        UniqueConstraint("stream_id", "window_start", "window_end", "event_type"),
        one_of("status", STATUSES),
        one_of("level", LEVELS),
        CheckConstraint("score BETWEEN 0 AND 1", name="score"),
        CheckConstraint("threshold BETWEEN 0 AND 1", name="threshold"),
        CheckConstraint("window_end > window_start", name="window"),
        Index("ix_inferences_org_id_patient_id_id", "org_id", "patient_id", "id"),
    )

    org_id: Mapped[UUID]
    patient_id: Mapped[UUID]
    stream_id: Mapped[UUID]
    device_id: Mapped[UUID]
    model_version_id: Mapped[UUID] = mapped_column(ForeignKey("model_versions.id"))
    event_type: Mapped[str] = mapped_column(String(40))
    window_start: Mapped[datetime]
    window_end: Mapped[datetime]
    status: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str] = mapped_column(String(200))
    level: Mapped[str | None] = mapped_column(String(10))
    score: Mapped[Decimal | None] = mapped_column(Score)
    threshold: Mapped[Decimal | None] = mapped_column(Score)
    quality: Mapped[Decimal | None] = mapped_column(Score)
    explanation: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))

    model_version: Mapped[ModelVersion] = relationship(lazy="joined", innerjoin=True)

    @property
    def model(self) -> str:
        """Name and version of what judged."""
        return self.model_version.label


class GroundTruthLabel(Entity, Base):
    """What a person says really happened, to measure models against."""

    __tablename__ = "ground_truth_labels"
    __table_args__ = (
        CheckConstraint("ended_at > onset_at", name="order"),
        Index("ix_ground_truth_labels_org_id_patient_id", "org_id", "patient_id", "event_type"),
    )

    org_id: Mapped[UUID]
    patient_id: Mapped[UUID]
    stream_id: Mapped[UUID | None]
    inference_id: Mapped[UUID | None] = mapped_column(ForeignKey("inferences.id", ondelete="SET NULL"))
    event_type: Mapped[str] = mapped_column(String(40))
    present: Mapped[bool]
    onset_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    note: Mapped[str | None] = mapped_column(String(500))
    labelled_by: Mapped[str] = mapped_column(String(80))


class PatientProfile(Entity, Base):
    """What the models must know of a patient besides the signals; a patient without a row has the defaults."""

    __tablename__ = "patient_profiles"
    __table_args__ = (
        UniqueConstraint("org_id", "patient_id"),
        CheckConstraint("spo2_scale IN (1, 2)", name="spo2_scale"),
        one_of("consciousness", CONSCIOUSNESS),
    )

    org_id: Mapped[UUID]
    patient_id: Mapped[UUID]
    birthdate: Mapped[date | None]
    pregnant: Mapped[bool]
    spo2_scale: Mapped[int]
    on_oxygen: Mapped[bool | None]
    on_oxygen_at: Mapped[datetime | None]
    consciousness: Mapped[str | None] = mapped_column(String(1))
    consciousness_at: Mapped[datetime | None]
    known_af: Mapped[bool]
    pacemaker: Mapped[bool]
    symptoms: Mapped[bool]
    limits: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)


class Monitor(Base):
    """The watch over one stream: what it is, how far it is written and judged, and who is judging it now.

    A row starts with whichever comes first, the binding (`bound_at`) or the first samples. Times of the second block
    are data times: everything before `cursor` is judged, `gaps` are the stretches in which there was nothing to judge,
    `news_*` bound what was written since the last look (behind the cursor they are late), `notes` counts how often.
    Times of the last block are the clock's; at `check_at` the time-series service is asked whether there are samples
    that nobody told of, and if there are none the signal is lost.
    """

    __tablename__ = "monitors"
    __table_args__ = (
        CheckConstraint("bound_at IS NULL OR signal_type IS NOT NULL", name="bound"),
        Index("ix_monitors_claimed_at", "claimed_at"),
        Index("ix_monitors_patient_id", "patient_id"),
    )

    stream_id: Mapped[UUID] = mapped_column(primary_key=True)
    org_id: Mapped[UUID]
    patient_id: Mapped[UUID | None]
    device_id: Mapped[UUID | None]
    signal_type: Mapped[str | None] = mapped_column(String(10))
    channel: Mapped[str | None] = mapped_column(String(40))
    unit: Mapped[str | None] = mapped_column(String(20))
    sample_rate_hz: Mapped[float | None]
    step_s: Mapped[float | None]

    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    written_from: Mapped[datetime | None]
    written_until: Mapped[datetime | None]
    cursor: Mapped[datetime | None]
    gaps: Mapped[list[list[str]]] = mapped_column(JSONB, server_default=text("'[]'"))
    news_from: Mapped[datetime | None]
    news_until: Mapped[datetime | None]
    latest_value: Mapped[float | None]
    latest_at: Mapped[datetime | None]

    bound_at: Mapped[datetime | None]
    written_at: Mapped[datetime | None]
    check_at: Mapped[datetime | None]
    notes: Mapped[int] = mapped_column(server_default="0")
    request_id: Mapped[str] = mapped_column(String(128), server_default="")
    claimed_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    lease_owner: Mapped[UUID | None]
    lease_until: Mapped[datetime] = mapped_column(server_default=text("now()"))


class Episode(Entity, Base):
    """The state machine of one event type of a patient, fed by one stream, or by all where a model takes several.

    Streams do not share a machine: two leads or two sensors must not talk each other out of an alarm. The alert
    service joins what is about the same patient and event type. `sampled_at` is the data time of the last inference
    that was stored; `told_stale` says that the open episode was told as stale and nobody was told since.
    """

    __tablename__ = "episodes"
    __table_args__ = (
        UniqueConstraint("patient_id", "event_type", "stream_id", postgresql_nulls_not_distinct=True),
        Index("ix_episodes_org_id", "org_id"),
    )

    org_id: Mapped[UUID]
    patient_id: Mapped[UUID]
    event_type: Mapped[str] = mapped_column(String(40))
    stream_id: Mapped[UUID | None]
    state: Mapped[dict[str, Any]] = mapped_column(JSONB)
    sampled_at: Mapped[datetime | None]
    told_stale: Mapped[bool]
