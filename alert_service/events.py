"""What the alert service publishes. No name and no clinical value travels."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import Meta

from common.events import Event

Level = Literal["low", "medium", "high", "critical"]
Channel = Literal["SMS", "EMAIL", "PUSH", "WEBHOOK", "LOG"]
TypeCode = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]{0,39}$")]


class AlertCreated(Event, frozen=True, kw_only=True):
    """An alert came into being. Not mandatory: it is for dashboards and webhooks, and nobody has to listen."""

    type: ClassVar[str] = "alert.created"
    exchange: ClassVar[str] = "alert.direct"
    mandatory: ClassVar[bool] = False

    alert_id: UUID
    patient_id: UUID
    alert_type: str
    level: str
    status: str
    observed_at: datetime
    source: str
    duplicate_of: UUID | None = None

    @property
    def subject(self) -> str:
        """The alert."""
        return str(self.alert_id)


class AlertUpdated(Event, frozen=True, kw_only=True):
    """An alert took the step `step`. Not mandatory: it is for dashboards and webhooks, and nobody has to listen."""

    type: ClassVar[str] = "alert.updated"
    exchange: ClassVar[str] = "alert.direct"
    mandatory: ClassVar[bool] = False

    alert_id: UUID
    patient_id: UUID
    alert_type: str
    level: str
    status: str
    observed_at: datetime
    step: str

    @property
    def subject(self) -> str:
        """The alert."""
        return str(self.alert_id)


class AlertNotify(Event, frozen=True, kw_only=True):
    """Somebody has to be told through `channel`."""

    type: ClassVar[str] = "alert.notify"
    exchange: ClassVar[str] = "notification.topic"

    notification_id: UUID
    alert_id: UUID
    patient_id: UUID
    level: Level
    alert_type: TypeCode
    channel: Channel
    observed_at: datetime

    @property
    def routing_key(self) -> str:
        """`alert.notify.<channel>`, in lower case."""
        return f"{self.type}.{self.channel.lower()}"

    @property
    def subject(self) -> str:
        """The alert."""
        return str(self.alert_id)
