"""The notification service between real neighbours: patient and auth over HTTP, a mail catcher over SMTP."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from common.factory import resources_of
from ops.native.servers.mail import MailCatcher
from tests.support.services import Person, ServiceUnderTest, event_like

OBSERVED = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)


@dataclass
class Desk:
    """One organisation's notifications."""

    service: ServiceUnderTest
    patients: ServiceUnderTest
    auth: ServiceUnderTest
    users: ServiceUnderTest
    alerts: ServiceUnderTest
    mail: MailCatcher
    person: Person
    settings: Any = None
    emails: list[str] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = self.service.service.settings

    def patient(self, *languages: str) -> UUID:
        """A patient cared for by one person per language; their addresses are `emails`, in order."""
        user_ids = [self._account(language) for language in languages]
        ana = self._make("/patients", {"name": "Ana Canario", "birthdate": "1950-01-02", "sex": "F"})
        team = self._make("/care-teams", {"name": f"Cardio {uuid4()}"})
        for user_id in user_ids:
            self._make(f"/care-teams/{team['id']}/members", {"user_id": user_id, "role": "doctor"})
        self._make(f"/patients/{ana['id']}/care-teams", {"care_team_id": team["id"]})
        return UUID(ana["id"])

    def _make(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.patients.call("POST", path, self.person, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json["data"]

    def _account(self, language: str) -> str:
        email = f"{uuid4().hex}@clinic.test"
        admin = replace(self.person, roles=("org_admin",))
        body = {"name": "Luz Canario", "email": email, "password": "tres gatos en el tejado", "roles": ["clinician"]}
        answer = self.auth.call("POST", "/auth/users", admin, json=body | {"language": language})
        assert answer.status_code == 201, answer.text
        self.emails.append(email)
        self.people.append(replace(self.person, user_id=UUID(answer.json["data"]["id"]), permissions=frozenset()))
        return answer.json["data"]["id"]

    def wish(self, person: Person, **preferences: Any) -> None:
        """Somebody sets their preferences."""
        answer = self.users.call("PATCH", "/preferences", person, json=preferences)
        assert answer.status_code == 200, answer.text

    def raise_alert(self, patient_id: UUID, level: str = "medium") -> UUID:
        """An alert by hand, of which the alert service asks to tell; its id."""
        body = {"patient_id": str(patient_id), "type": "ARRHYTHMIA", "level": level}
        answer = self.alerts.call("POST", "/alerts", self.person, json=body)
        assert answer.status_code == 201, answer.text
        return UUID(answer.json["data"]["id"])

    def step(self, alert_id: UUID, *steps: str) -> None:
        """Take steps of an alert's life."""
        for step in steps:
            answer = self.alerts.call("POST", f"/alerts/{alert_id}/{step}", self.person, json={})
            assert answer.status_code == 200, answer.text

    def request(self, patient_id: UUID, channel: str = "EMAIL", **changes: Any):
        """`alert.notify` as the alert service would publish it."""
        values = {
            "notification_id": uuid4(),
            "alert_id": uuid4(),
            "patient_id": patient_id,
            "level": "high",
            "alert_type": "ARRHYTHMIA",
            "channel": channel,
            "observed_at": OBSERVED,
        }
        return event_like("alert.notify", "notification.topic", **(values | changes))

    def notify(self, patient_id: UUID, channel: str = "EMAIL", **changes: Any):
        """Deliver a request; returns it."""
        request = self.request(patient_id, channel, **changes)
        assert self.service.deliver(request, self.person.org_id) == [True]
        return request

    def resolve(self) -> None:
        """Find the recipients of every request that is due."""
        recipients = importlib.import_module("notification_service.recipients")
        known = self._resources()
        client, pause = known["client"], known["wishes_pause"]
        while recipients.resolve_batch(self.service.database, client, self.settings, pause):
            pass

    def send(self) -> None:
        """Send everything that is due."""
        sending = importlib.import_module("notification_service.sending")
        known = self._resources()
        while sending.send_batch(self.service.database, known["client"], known["mailer"], self.settings):
            pass

    def send_account_mails(self) -> None:
        """Send every letter about an account that is due."""
        account_mails = importlib.import_module("notification_service.account_mails")
        known = self._resources()
        while account_mails.send_batch(self.service.database, known["client"], known["mailer"], self.settings):
            pass

    def work(self) -> None:
        """What the worker does."""
        self.resolve()
        self.send()

    def _resources(self) -> dict[str, Any]:
        return resources_of(self.service.package, self.settings, self.service.database)

    def let_time_pass(self) -> None:
        """Make every waiting thing of the organisation due."""
        with self.service.database.transaction(self.person.org_id, technical=True) as session:
            session.execute(text("UPDATE alert_delivery SET next_attempt_at = now() WHERE status = 'QUEUED'"))
            session.execute(text("UPDATE notification_requests SET resolve_at = now() WHERE resolve_at IS NOT NULL"))

    def forget(self) -> None:
        """Leave nothing behind that another test would send."""
        with self.service.database.transaction(self.person.org_id, technical=True) as session:
            session.execute(text("DELETE FROM notification_requests"))

    def deliveries(self, query: str = "") -> list[dict[str, Any]]:
        """The organisation's deliveries, oldest first."""
        answer = self.service.call("GET", f"/notifications?limit=200{query}", self.person)
        assert answer.status_code == 200, answer.text
        return answer.json["data"][::-1]

    def events(self, delivery_id: str) -> list[tuple[str, str | None]]:
        """The changes of a delivery, oldest first."""
        data = self.service.call("GET", f"/notifications/{delivery_id}/events", self.person).json["data"]
        return [(item["status"], item["reason"]) for item in reversed(data)]

    def updates(self) -> list[tuple[str, str | None]]:
        """What the alert service is told."""
        found = self.service.outbox("alert.delivery_update", self.person.org_id)
        return [(event["data"]["status"], event["data"]["reason"]) for event in found]

    def letters(self, mail: MailCatcher | None = None) -> list[EmailMessage]:
        """The messages that reached this organisation's people."""
        return [message for message in (mail or self.mail).messages() if message["X-Envelope-To"] in self.emails]
