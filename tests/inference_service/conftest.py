"""The inference service beside the real time-series service, which it asks over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid4

import msgspec
import pytest

from common.database import ALL_ORGANIZATIONS
from common.events import Event
from common.http import InternalClient
from inference_service import windows
from inference_service.models import Monitor
from tests.support.listening import listening
from tests.support.services import Person, ServiceUnderTest, event_like

PATIENCE_S = 300  # claims; more than any test needs


@pytest.fixture(scope="module")
def influx(service):
    """The time-series service, listening where the inference service looks for it."""
    with listening(service("influx")) as running:
        yield running


@pytest.fixture
def inference(service, influx):
    """The inference service; work that other tests left behind is none of this test's."""
    found = service("inference")
    with found.database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.query(Monitor).delete()
    return found


def now_to_the_minute() -> datetime:
    """Now without seconds, so that windows lie the same in every run."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


@dataclass
class Bed:
    """A patient with streams, their samples, and what the inference service makes of them."""

    inference: ServiceUnderTest
    influx: ServiceUnderTest
    person: Person
    patient_id: UUID = field(default_factory=uuid4)
    device_id: UUID = field(default_factory=uuid4)
    began: datetime = field(default_factory=lambda: now_to_the_minute() - timedelta(minutes=7))

    def at(self, seconds: float) -> datetime:
        """A data time."""
        return self.began + timedelta(seconds=seconds)

    def bind(self, signal_type: str, rate_hz: float, unit: str, *, channel: str = "", tell: bool = True) -> UUID:
        """A stream, of which the inference service may hear later."""
        stream_id = uuid4()
        facts = {
            "binding_id": uuid4(),
            "stream_id": stream_id,
            "device_id": self.device_id,
            "patient_id": self.patient_id,
            "signal_type": signal_type,
            "channel": channel,
            "unit": unit,
            "sample_rate_hz": rate_hz,
            "bucket": "heartguard_signals",
            "measurement": signal_type.lower(),
            "tags": {"stream_id": str(stream_id)},
            "started_at": self.began,
        }
        self.bound = event_like("signal_stream.bound", "device.topic", **facts)
        self.influx.deliver(self.bound, self.person.org_id)
        if tell:
            self.inference.deliver(self.bound, self.person.org_id)
        return stream_id

    def end(self, stream_id: UUID, at: datetime) -> None:
        """The stream ends."""
        event = event_like("signal_stream.ended", "device.topic", stream_id=stream_id, ended_at=at)
        self.inference.deliver(event, self.person.org_id)

    def write(self, stream_id: UUID, seconds: float, values: Any, *, tell: bool = True) -> None:
        """Samples from a data time on, through the time-series service."""
        body = {"stream_id": str(stream_id), "started_at": self.at(seconds).isoformat(), "values": list(values)}
        answer = self.influx.call("POST", "/timeseries/write", self.person, json=body)
        assert answer.status_code == 200, answer.json
        if tell:
            kept = answer.json["data"]
            self.tell(stream_id, datetime.fromisoformat(kept["from"]), datetime.fromisoformat(kept["to"]))

    def tell(self, stream_id: UUID, start: datetime, stop: datetime) -> None:
        """What the time-series service says of written samples."""
        self.inference.deliver(Written(stream_id=stream_id, start=start, stop=stop), self.person.org_id)

    def judge(self, claims: int = PATIENCE_S) -> int:
        """Work off what there is to judge; returns the number of claims."""
        for done in range(claims):
            if not windows.judge_next(self.inference.database, self.client, self.inference.service.settings):
                return done
        return claims

    @property
    def client(self) -> InternalClient:
        """The inference service's client."""
        return self.inference.service.resources["client"]

    def candidates(self, event_type: str) -> list[dict[str, Any]]:
        """The alert candidates of an event type, oldest first."""
        events = self.inference.outbox("inference.alert_candidate", self.person.org_id)
        return [event["data"] for event in events if event["data"]["event_type"] == event_type]

    def told(self, event_type: str) -> list[tuple[str, str]]:
        """What was told of an event type: transition and level."""
        return [(item["transition"], item["level"]) for item in self.candidates(event_type)]

    def monitor(self, stream_id: UUID) -> Monitor:
        """The monitor's row."""
        with self.inference.database.transaction(self.person.org_id) as session:
            return session.get_one(Monitor, stream_id)

    def set_monitor(self, stream_id: UUID, **values: Any) -> None:
        """Change a monitor's row, as time would."""
        with self.inference.database.transaction(self.person.org_id, technical=True) as session:
            session.query(Monitor).filter_by(stream_id=stream_id).update(values)

    def inferences(self, **query: Any) -> list[dict[str, Any]]:
        """The stored inferences through the API, oldest first."""
        answer = self.inference.call("GET", "/inferences", self.person, query_string={"limit": 200, **query})
        assert answer.status_code == 200, answer.json
        return answer.json["data"][::-1]


@pytest.fixture
def bed(inference, influx, clinician):
    """A patient of an organisation of its own."""
    return Bed(inference, influx, clinician)


class Written(Event, frozen=True, kw_only=True):
    """`timeseries.written` as it is on the wire."""

    type: ClassVar[str] = "timeseries.written"
    exchange: ClassVar[str] = "influx.topic"

    stream_id: UUID
    start: datetime = msgspec.field(name="from")
    stop: datetime = msgspec.field(name="to")
