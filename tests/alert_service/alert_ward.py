"""Candidates as inference publishes them, deliveries as notification does, and shortcuts to the alerts they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import text

from tests.support.services import Person, ServiceUnderTest, event_like

OBSERVED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class Ward:
    """One organisation's patient under the alert service."""

    service: ServiceUnderTest
    person: Person
    patient_id: UUID = field(default_factory=uuid4)

    def candidate(self, episode_id: UUID, transition: str = "open", **changes):
        """A candidate of this patient, as inference would publish it."""
        values = {
            "candidate_id": uuid4(),
            "episode_id": episode_id,
            "transition": transition,
            "inference_id": uuid4(),
            "patient_id": self.patient_id,
            "stream_id": uuid4(),
            "device_id": None,
            "event_type": "ARRHYTHMIA",
            "level": "high",
            "observed_at": OBSERVED,
            "detected_at": OBSERVED + timedelta(seconds=2),
            "model": "ecg_rhythm 1.0.0",
            "dedup_key": f"{episode_id}:{transition}",
        }
        return event_like("inference.alert_candidate", "inference.fanout", **(values | changes))

    def tell(self, episode_id: UUID, transition: str = "open", **changes):
        """Deliver a candidate."""
        return self.service.deliver(self.candidate(episode_id, transition, **changes), self.person.org_id)

    def delivery(self, alert_id: str, status: str, at: datetime, **changes):
        """Deliver what became of a delivery."""
        values = {
            "delivery_id": uuid4(),
            "notification_id": uuid4(),
            "alert_id": UUID(alert_id),
            "channel": "EMAIL",
            "status": status,
            "at": at,
            "reason": None,
        }
        event = event_like("alert.delivery_update", "notification.topic", **(values | changes))
        return self.service.deliver(event, self.person.org_id)

    def alerts(self, query: str = "") -> list[dict]:
        """The patient's alerts, newest first."""
        answer = self.service.call("GET", f"/alerts?patient={self.patient_id}{query}", self.person)
        assert answer.status_code == 200, answer.text
        return answer.json["data"]

    def alert(self) -> dict:
        """The patient's only alert."""
        (alert,) = self.alerts()
        return alert

    def step(self, alert_id: str, name: str, body: dict | None = None, person: Person | None = None):
        """Take a step of an alert's life by the API."""
        return self.service.call("POST", f"/alerts/{alert_id}/{name}", person or self.person, json=body or {})

    def steps(self, alert_id: str) -> list[str]:
        """The names of the timeline's steps."""
        return [item["step"] for item in self.timeline(alert_id)]

    def timeline(self, alert_id: str) -> list[dict]:
        """The timeline."""
        return self.service.call("GET", f"/alerts/{alert_id}/timeline", self.person).json["data"]

    def pages(self) -> list[dict]:
        """What the notification service was asked for."""
        return [event["data"] for event in self.service.outbox("alert.notify", self.person.org_id)]

    def set_due(self, alert_id: str) -> None:
        """Let the time of an alert's escalation come."""
        with self.service.database.transaction(self.person.org_id, technical=True) as session:
            statement = text("UPDATE alerts SET escalate_at = now() - interval '1 second' WHERE id = :id")
            session.execute(statement, {"id": alert_id})
