"""Where the alert service listens."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from alert_service import candidates
from alert_service.events import Channel
from common.events import Event
from common.messaging import consumer

Status = Literal["QUEUED", "SENT", "DELIVERED", "READ", "FAILED", "CANCELLED"]


class AlertCandidate(Event, frozen=True, kw_only=True):
    """An episode of an event type began, got worse or ended; `observed_at` is the data's time."""

    type: ClassVar[str] = "inference.alert_candidate"
    exchange: ClassVar[str] = "inference.fanout"

    episode_id: UUID
    transition: str
    inference_id: UUID
    patient_id: UUID
    stream_id: UUID | None
    device_id: UUID | None
    event_type: str
    level: str
    observed_at: datetime
    detected_at: datetime
    model: str
    stale: bool = False


@consumer("alert.candidates", exchange="inference.fanout", payload=AlertCandidate)
def note_candidate(session, caller, event):
    """Open, raise or annotate the one alert of an episode."""
    candidates.note_candidate(
        session,
        caller,
        episode_id=event.episode_id,
        transition=event.transition,
        inference_id=event.inference_id,
        patient_id=event.patient_id,
        stream_id=event.stream_id,
        device_id=event.device_id,
        type=event.event_type,
        level=event.level,
        observed_at=event.observed_at,
        detected_at=event.detected_at,
        model=event.model,
        stale=event.stale,
    )


class DeliveryUpdate(Event, frozen=True, kw_only=True):
    """What became of one delivery of an alert to one recipient."""

    type: ClassVar[str] = "alert.delivery_update"
    exchange: ClassVar[str] = "notification.topic"

    delivery_id: UUID
    alert_id: UUID
    channel: Channel
    status: Status
    at: datetime
    reason: str | None = None


@consumer(
    "alert.deliveries",
    exchange="notification.topic",
    payload=DeliveryUpdate,
    routing_key="alert.delivery_update.*",
)
def note_delivery(session, caller, event):
    """Write what became of a delivery into the alert's timeline."""
    candidates.note_delivery(
        session,
        caller,
        alert_id=event.alert_id,
        delivery_id=event.delivery_id,
        channel=event.channel,
        status=event.status,
        at=event.at,
        reason=event.reason,
    )
