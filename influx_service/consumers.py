"""What the time-series service learns about streams and organisations from others."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy.orm import Session

from common.auth import Caller
from common.database import notify
from common.events import Event
from common.messaging import consumer
from common.outbox import record
from common.rules import keep_rules
from influx_service.bindings import COLUMNS, keep_binding, keep_end
from influx_service.models import OrganizationRules


class StreamBound(Event, frozen=True, kw_only=True):
    """A stream's samples go to a measurement of a bucket."""

    type: ClassVar[str] = "signal_stream.bound"
    exchange: ClassVar[str] = "device.topic"

    binding_id: UUID
    stream_id: UUID
    device_id: UUID
    patient_id: UUID
    signal_type: str
    channel: str
    unit: str
    sample_rate_hz: float
    bucket: str
    measurement: str
    tags: dict[str, str]
    started_at: datetime


class StreamEnded(Event, frozen=True, kw_only=True):
    """A stream takes no samples after `ended_at`."""

    type: ClassVar[str] = "signal_stream.ended"
    exchange: ClassVar[str] = "device.topic"

    stream_id: UUID
    ended_at: datetime


@consumer("influx.streams", exchange="device.topic", payload=StreamBound)
def keep_bound_stream(session: Session, caller: Caller, event: Any) -> None:
    """Remember where a stream's samples go."""
    keep_binding(session, caller, event.binding_id, {name: getattr(event, name) for name in COLUMNS})
    record(session, caller, "stream_binding.kept", f"signal_streams:{event.stream_id}", {"bucket": event.bucket})


@consumer("influx.streams", exchange="device.topic", payload=StreamEnded)
def keep_ended_stream(session: Session, caller: Caller, event: Any) -> None:
    """Remember that a stream takes no more samples."""
    keep_end(session, caller, event.stream_id, event.ended_at)
    record(session, caller, "stream_binding.ended", f"signal_streams:{event.stream_id}")


class OrganizationRulesChanged(Event, frozen=True, kw_only=True):
    """An organisation keeps its samples for another time."""

    type: ClassVar[str] = "organization.rules_changed"
    exchange: ClassVar[str] = "organization.topic"

    settings_version: int
    retention_days: int = 3650


@consumer("influx.organizations", exchange="organization.topic", payload=OrganizationRulesChanged)
def note_rules(session: Session, caller: Caller, event: Any) -> None:
    """Remember how long an organisation keeps samples, and have the engine follow."""
    keep_rules(session, caller, OrganizationRules, event)
    notify(session, "buckets")
