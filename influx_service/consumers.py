"""What the time-series service learns about streams from the device service."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy.orm import Session

from common.auth import Caller
from common.events import Event
from common.messaging import consumer
from common.outbox import record
from influx_service.bindings import COLUMNS, keep_binding, keep_end


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
