"""Where the notification service listens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import Meta

from common.events import Event
from common.messaging import consumer
from notification_service import actions


class AlertNotify(Event, frozen=True, kw_only=True):
    """Somebody has to be told of an alert through a channel."""

    type: ClassVar[str] = "alert.notify"
    exchange: ClassVar[str] = "notification.topic"

    notification_id: UUID
    alert_id: UUID
    patient_id: UUID
    level: Literal["low", "medium", "high", "critical"]
    alert_type: Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]{0,39}$")]
    channel: Literal["SMS", "EMAIL", "PUSH", "WEBHOOK", "LOG"]
    observed_at: Annotated[datetime, Meta(tz=True)]


@consumer("notification.requests", exchange="notification.topic", payload=AlertNotify, routing_key="alert.notify.*")
def request_notification(session, caller, event):
    """Store the request, once, and wake the task that finds the recipients."""
    actions.request_notification(
        session,
        caller,
        event.notification_id,
        alert_id=event.alert_id,
        patient_id=event.patient_id,
        level=event.level,
        alert_type=event.alert_type,
        channel=event.channel,
        observed_at=event.observed_at,
    )
