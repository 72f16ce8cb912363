"""What the tests of the time-series service share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from tests.support.services import event_like

BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)


def at(seconds: float) -> str:
    """A time after BEGIN as it stands on the wire."""
    return (BEGIN + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


@dataclass
class Stream:
    """A stream as the device service would tell of it."""

    org_id: str
    signal_type: str = "ECG"
    sample_rate_hz: float = 250.0
    unit: str = "mV"
    channel: str = "MLII"
    bucket: str = "heartguard_signals"
    begins: datetime = BEGIN
    id: str = field(default_factory=lambda: str(uuid4()))
    binding_id: str = field(default_factory=lambda: str(uuid4()))
    device_id: str = field(default_factory=lambda: str(uuid4()))
    patient_id: str = field(default_factory=lambda: str(uuid4()))

    def facts(self) -> dict[str, Any]:
        """What a binding says, as it stands on the wire."""
        tags = {"patient_id": self.patient_id, "stream_id": self.id, "device_id": self.device_id}
        return {
            "stream_id": self.id,
            "device_id": self.device_id,
            "patient_id": self.patient_id,
            "signal_type": self.signal_type,
            "channel": self.channel,
            "unit": self.unit,
            "sample_rate_hz": self.sample_rate_hz,
            "bucket": self.bucket,
            "measurement": self.signal_type.lower(),
            "tags": {**tags, "org_id": self.org_id},
            "started_at": self.begins.isoformat(),
        }

    def bound(self) -> Any:
        """The event that says so."""
        return event_like("signal_stream.bound", "device.topic", binding_id=self.binding_id, **self.facts())

    def ended(self, ended_at: datetime) -> Any:
        """The event that ends it."""
        facts = {"device_id": self.device_id, "patient_id": self.patient_id, "signal_type": self.signal_type}
        return event_like(
            "signal_stream.ended", "device.topic", stream_id=self.id, ended_at=ended_at.isoformat(), **facts
        )
