"""What the time-series service publishes."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from common.events import Event


class TimeseriesWritten(Event, frozen=True, kw_only=True):
    """Samples of a stream in [from, to) are there. Not mandatory: it only wakes, a sweep finds what was missed."""

    type: ClassVar[str] = "timeseries.written"
    exchange: ClassVar[str] = "influx.topic"
    mandatory: ClassVar[bool] = False

    stream_id: UUID
    patient_id: UUID
    signal_type: str
    start: datetime = msgspec.field(name="from")
    stop: datetime = msgspec.field(name="to")

    @property
    def subject(self) -> str:
        """The stream."""
        return str(self.stream_id)
