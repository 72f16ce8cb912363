"""What the device service publishes."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from common.events import Event


class SignalStreamBound(Event, frozen=True, kw_only=True):
    """A stream's samples go to a measurement of a bucket from now on; `tags` are those that its series carry."""

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

    @property
    def subject(self) -> str:
        """The stream."""
        return str(self.stream_id)


class DeviceWithdrawn(Event, frozen=True, kw_only=True):
    """A device was deactivated or removed: it is not to send any more."""

    type: ClassVar[str] = "device.withdrawn"
    exchange: ClassVar[str] = "device.topic"

    device_id: UUID

    @property
    def subject(self) -> str:
        """The device."""
        return str(self.device_id)


class SignalStreamEnded(Event, frozen=True, kw_only=True):
    """A stream takes no samples after `ended_at`."""

    type: ClassVar[str] = "signal_stream.ended"
    exchange: ClassVar[str] = "device.topic"

    stream_id: UUID
    device_id: UUID
    patient_id: UUID
    signal_type: str
    ended_at: datetime

    @property
    def subject(self) -> str:
        """The stream."""
        return str(self.stream_id)
