"""What the inference service listens to: streams that begin and end, and samples that were written."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from sqlalchemy.orm import Session

from common.auth import Caller
from common.events import Event
from common.messaging import consumer
from inference_service import monitors


class StreamBound(Event, frozen=True, kw_only=True):
    """A stream has a place for its samples from now on."""

    type: ClassVar[str] = "signal_stream.bound"
    exchange: ClassVar[str] = "device.topic"

    stream_id: UUID
    device_id: UUID
    patient_id: UUID
    signal_type: str
    channel: str
    unit: str
    sample_rate_hz: float
    started_at: datetime


class StreamEnded(Event, frozen=True, kw_only=True):
    """A stream takes no samples after `ended_at`."""

    type: ClassVar[str] = "signal_stream.ended"
    exchange: ClassVar[str] = "device.topic"

    stream_id: UUID
    ended_at: datetime


class SamplesWritten(Event, frozen=True, kw_only=True):
    """Samples of a stream in [from, to) are there."""

    type: ClassVar[str] = "timeseries.written"
    exchange: ClassVar[str] = "influx.topic"

    stream_id: UUID
    start: datetime = msgspec.field(name="from")
    stop: datetime = msgspec.field(name="to")


@consumer("inference.streams", exchange="device.topic", payload=StreamBound)
def watch_stream(session: Session, caller: Caller, event: Any) -> None:
    """Watch a stream from now on."""
    monitors.watch(session, caller, **msgspec.structs.asdict(event))


@consumer("inference.streams", exchange="device.topic", payload=StreamEnded)
def end_watch(session: Session, caller: Caller, event: Any) -> None:
    """Judge what a stream still has, and expect no more of it."""
    monitors.end(session, caller, event.stream_id, event.ended_at)


@consumer("inference.samples", exchange="influx.topic", payload=SamplesWritten)
def note_samples(session: Session, caller: Caller, event: Any) -> None:
    """Note how far a stream is written, and wake who judges it."""
    monitors.note_written(session, caller, event.stream_id, event.start, event.stop)
