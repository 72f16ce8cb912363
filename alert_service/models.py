"""Tables of the alert service, and the states an alert may pass through."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from alert_service.errors import InvalidTransition
from alert_service.events import Channel
from common.database import Entity, service_registry

LEVELS = ("low", "medium", "high", "critical")
PAGED_LEVELS = LEVELS[1:]
STATUSES = ("created", "notified", "ack", "resolved", "closed")
OPEN_STATUSES = ("created", "notified", "ack")
UNACKNOWLEDGED = ("created", "notified")
CHANNELS = ("SMS", "EMAIL", "PUSH", "WEBHOOK", "LOG")
SOURCES = ("inference", "manual")
OUTCOMES = ("true_alarm", "false_alarm", "technical")

# From which states a step is possible, and where it leads.
_TRANSITIONS = {
    "acknowledge": (UNACKNOWLEDGED, "ack"),
    "resolve": (("ack",), "resolved"),
    "close": (("resolved",), "closed"),
}
_WHAT_NEXT = {
    "created": ("Confírmela primero.", "Acknowledge it first."),
    "notified": ("Confírmela primero.", "Acknowledge it first."),
    "ack": ("Ya fue confirmada: asígnela o resuélvala.", "It is acknowledged: assign or resolve it."),
    "resolved": ("Ya fue resuelta: solo queda cerrarla.", "It is resolved: all that is left is to close it."),
    "closed": ("Ya terminó: si hay otra alarma, créela.", "It is over: if there is another alarm, create it."),
}


class Base(DeclarativeBase):
    """The base of this service's models."""

    registry = service_registry()


def rank(level: str) -> int:
    """The order of a level: low 1, medium 2, high 3, critical 4."""
    return LEVELS.index(level) + 1


class Catalogue(Base):
    """A table of codes with their words."""

    __abstract__ = True

    code: Mapped[str] = mapped_column(String(40), primary_key=True)
    label_es: Mapped[str] = mapped_column(String(80))
    label_en: Mapped[str] = mapped_column(String(80))
    position: Mapped[int]


class AlertStatus(Catalogue):
    """The states of an alert's life."""

    __tablename__ = "alert_status"


class AlertChannel(Catalogue):
    """The ways to tell somebody."""

    __tablename__ = "alert_channels"


class AlertLevel(Catalogue):
    """How urgent an alert is; `position` is its rank."""

    __tablename__ = "alert_levels"


class RiskLevel(Catalogue):
    """How much at risk a patient is."""

    __tablename__ = "risk_levels"


class AlertType(Catalogue):
    """What an alert is about, and the levels it may have."""

    __tablename__ = "alert_types"

    default_level: Mapped[str] = mapped_column(ForeignKey("alert_levels.code"))
    min_level: Mapped[str] = mapped_column(ForeignKey("alert_levels.code"))
    max_level: Mapped[str] = mapped_column(ForeignKey("alert_levels.code"))

    def allows(self, level: str) -> bool:
        """Whether an alert of this type may have `level`."""
        return rank(self.min_level) <= rank(level) <= rank(self.max_level)

    def clamp(self, level: str) -> str:
        """The level nearest to `level` that this type may have."""
        return LEVELS[min(max(rank(level), rank(self.min_level)), rank(self.max_level)) - 1]


class AlertPolicy(Entity, Base):
    """How an organisation is told; `org_id` NULL is the suite's default, `alert_type` NULL holds for all types."""

    __tablename__ = "alert_policies"
    __table_args__ = (
        UniqueConstraint("org_id", "alert_type", postgresql_nulls_not_distinct=True),
        CheckConstraint("hold_off_minutes >= 0", name="hold_off_minutes"),
        CheckConstraint("max_escalations >= 0", name="max_escalations"),
        CheckConstraint("max_shelve_minutes > 0", name="max_shelve_minutes"),
    )

    org_id: Mapped[UUID | None]
    alert_type: Mapped[str | None] = mapped_column(ForeignKey("alert_types.code"))
    channels: Mapped[dict[str, list[Channel]]] = mapped_column(JSONB)
    escalation_minutes: Mapped[dict[str, int | None]] = mapped_column(JSONB)
    hold_off_minutes: Mapped[int]
    max_escalations: Mapped[int]
    max_shelve_minutes: Mapped[int]

    def change(self, **values: Any) -> list[str]:
        """Set the given fields; returns the names of those that changed."""
        changed = [name for name, value in values.items() if getattr(self, name) != value]
        for name in changed:
            setattr(self, name, values[name])
        return changed

    @property
    def hold_off(self) -> timedelta:
        """For how long after an alert another of the same patient and type is its duplicate."""
        return timedelta(minutes=self.hold_off_minutes)

    def channels_of(self, level: str) -> list[Channel]:
        """The channels of a level; none for low: it is recorded, and nobody is paged."""
        return self.channels.get(level, []) if level in PAGED_LEVELS else []

    def patience(self, level: str) -> timedelta | None:
        """How long an alert of `level` may stay unacknowledged; None: for ever."""
        minutes = self.escalation_minutes.get(level)
        return None if minutes is None else timedelta(minutes=minutes)


class Alert(Entity, Base):
    """Something about a patient that needs attention. `observed_at` is the data's time, everything else the clock's."""

    __tablename__ = "alerts"
    __table_args__ = (
        CheckConstraint("source IN ('inference', 'manual')", name="source"),
        CheckConstraint("(source = 'inference') = (inference_id IS NOT NULL)", name="inference"),
        CheckConstraint("latitude BETWEEN -90 AND 90", name="latitude"),
        CheckConstraint("longitude BETWEEN -180 AND 180", name="longitude"),
        CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name="location"),
        UniqueConstraint("org_id", "inference_id", "type"),
        UniqueConstraint("org_id", "episode_id", "type"),
        Index("ix_alerts_org_id_id", "org_id", "id"),
        Index("ix_alerts_patient", "org_id", "patient_id", "type", "observed_at"),
        Index("ix_alerts_escalate_at", "escalate_at", postgresql_where=text("escalate_at IS NOT NULL")),
        Index(
            "ix_alerts_critical",
            "paged_at",
            postgresql_where=text("level = 'critical' AND status IN ('created', 'notified')"),
        ),
    )

    org_id: Mapped[UUID]
    patient_id: Mapped[UUID]
    type: Mapped[str] = mapped_column(ForeignKey("alert_types.code"))
    level: Mapped[str] = mapped_column(ForeignKey("alert_levels.code"))
    status: Mapped[str] = mapped_column(ForeignKey("alert_status.code"))
    source: Mapped[str] = mapped_column(String(20))
    inference_id: Mapped[UUID | None]
    episode_id: Mapped[UUID | None]
    stream_id: Mapped[UUID | None]
    device_id: Mapped[UUID | None]
    model: Mapped[str | None] = mapped_column(String(120))
    duplicate_of: Mapped[UUID | None] = mapped_column(ForeignKey("alerts.id"), index=True)
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    observed_at: Mapped[datetime]
    detected_at: Mapped[datetime]
    note: Mapped[str | None] = mapped_column(String(1000))
    assigned_to: Mapped[UUID | None]
    paged_at: Mapped[datetime | None]
    episode_over_at: Mapped[datetime | None]
    escalations: Mapped[int]
    escalate_at: Mapped[datetime | None]
    shelved_until: Mapped[datetime | None]

    @property
    def location(self) -> dict[str, float] | None:
        """Where it happened (WGS 84 degrees), if somebody said so."""
        if self.latitude is None or self.longitude is None:
            return None
        return {"latitude": self.latitude, "longitude": self.longitude}

    @property
    def is_open(self) -> bool:
        """True until somebody has resolved it."""
        return self.status in OPEN_STATUSES

    def covers(self, level: str) -> bool:
        """Whether nobody needs to hear of another alert like this one, of `level`."""
        return self.is_open and rank(self.level) >= rank(level)

    def take(self, step: str) -> dict[str, str]:
        """Acknowledge, resolve or close; returns the change. Raises InvalidTransition."""
        sources, target = _TRANSITIONS[step]
        self._require(sources)
        before, self.status = self.status, target
        self.escalate_at = self.shelved_until = None
        return {"from": before, "to": target}

    def require_open(self) -> None:
        """Raises InvalidTransition once the alert is resolved or closed."""
        self._require(OPEN_STATUSES)

    def _require(self, states: tuple[str, ...]) -> None:
        if self.status not in states:
            advice_es, advice_en = _WHAT_NEXT[self.status]
            raise InvalidTransition(current=self.status, advice_es=advice_es, advice_en=advice_en)

    def reached_somebody(self) -> bool:
        """created -> notified, the only step that a delivery can bring; True when it was one."""
        if self.status != "created":
            return False
        self.status = "notified"
        return True

    def worsen(self, level: str) -> dict[str, str]:
        """Raise the level; returns the change.

        Whoever acknowledged, resolved, closed or shelved it did so for a lesser alarm: it needs attention again.
        """
        changes = {"from": self.level, "to": level}
        self.level = level
        self.escalations = 0
        if self.status not in UNACKNOWLEDGED:
            self.status = "created"
        return changes

    @property
    def waits_for_first_page(self) -> bool:
        """True for one that nobody was told of, because its data came too late to alarm as if it happened now."""
        return self.paged_at is None and self.duplicate_of is None and self.status in UNACKNOWLEDGED

    def await_acknowledgement(self, policy: AlertPolicy, now: datetime) -> None:
        """Set when the next escalation is due: never for acknowledged alerts, or once the policy's steps are used."""
        self.shelved_until = None
        patience = policy.patience(self.level)
        due = patience is not None and self.status in UNACKNOWLEDGED and self.escalations < policy.max_escalations
        self.escalate_at = now + patience if patience is not None and due else None


class AlertAssignment(Entity, Base):
    """Somebody made responsible for an alert; the newest row holds."""

    __tablename__ = "alert_assignment"

    org_id: Mapped[UUID]
    alert_id: Mapped[UUID] = mapped_column(ForeignKey("alerts.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[UUID]
    assigned_by: Mapped[UUID]


class AlertAck(Entity, Base):
    """Somebody's word that they have seen an alert at a level; a worsened alert needs another."""

    __tablename__ = "alert_ack"

    org_id: Mapped[UUID]
    alert_id: Mapped[UUID] = mapped_column(ForeignKey("alerts.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[UUID]
    level: Mapped[str] = mapped_column(ForeignKey("alert_levels.code"))
    note: Mapped[str | None] = mapped_column(String(1000))


class AlertResolution(Entity, Base):
    """How an alert ended, in the words of whoever ended it."""

    __tablename__ = "alert_resolution"
    __table_args__ = (CheckConstraint("outcome IN ('true_alarm', 'false_alarm', 'technical')", name="outcome"),)

    org_id: Mapped[UUID]
    alert_id: Mapped[UUID] = mapped_column(ForeignKey("alerts.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[UUID]
    outcome: Mapped[str | None] = mapped_column(String(20))
    note: Mapped[str | None] = mapped_column(String(1000))


class TimelineEntry(Entity, Base):
    """One step of an alert's life: what, when, by whom. Rows are only added."""

    __tablename__ = "alert_timeline"
    __table_args__ = (Index("ix_alert_timeline_alert_id_at", "alert_id", "at"),)

    org_id: Mapped[UUID]
    alert_id: Mapped[UUID] = mapped_column(ForeignKey("alerts.id", ondelete="CASCADE"))
    step: Mapped[str] = mapped_column(String(40))
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str] = mapped_column(String(160))
    details: Mapped[dict[str, Any]] = mapped_column(JSONB)
    note: Mapped[str | None] = mapped_column(String(1000))
