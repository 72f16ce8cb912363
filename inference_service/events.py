"""What the inference service publishes."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from common.events import Event


class InferenceGenerated(Event, frozen=True, kw_only=True):
    """An inference was stored. Not mandatory: it informs whoever wants to listen, and no service has to."""

    type: ClassVar[str] = "inference.generated"
    exchange: ClassVar[str] = "inference.fanout"
    mandatory: ClassVar[bool] = False

    inference_id: UUID
    patient_id: UUID
    stream_id: UUID
    event_type: str
    model: str
    status: str
    level: str | None
    window_start: datetime
    window_end: datetime

    @property
    def subject(self) -> str:
        return str(self.inference_id)


class AlertCandidate(Event, frozen=True, kw_only=True):
    """An episode opened, grew worse or closed. `observed_at` is the data's time, `detected_at` the clock's.

    `stale` marks what was found too late to alarm as if it were happening now. An episode that is still there when
    the data are live again is said once more, not stale, with a `dedup_key` of its own.
    """

    type: ClassVar[str] = "inference.alert_candidate"
    exchange: ClassVar[str] = "inference.fanout"

    candidate_id: UUID
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
    dedup_key: str
    stale: bool = False

    @property
    def subject(self) -> str:
        return str(self.episode_id)
