"""The count of critical alarms that reached nobody: what it counts, and what ends it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from alert_service.tasks import count_undelivered
from common.database import ALL_ORGANIZATIONS
from tests.support.services import Person, event_like


@pytest.fixture
def undelivered(service):
    """The count, over what other tests have left."""
    database = service("alert").database

    def count() -> float:
        assert count_undelivered(database) == 0
        value = REGISTRY.get_sample_value("heartguard_undelivered_alarms", {"level": "critical"})
        assert value is not None
        return value

    before = count()
    return lambda: count() - before


def raise_alert(service, person: Person, level: str, seconds_ago: int) -> UUID:
    body = {"patient_id": str(uuid4()), "type": "GENERAL_RISK", "level": level}
    answer = service("alert").call("POST", "/alerts", person, json=body)
    assert answer.status_code == 201, answer.text
    alert_id = UUID(answer.json["data"]["id"])
    earlier = text("UPDATE alerts SET created_at = now() - make_interval(secs => :ago) WHERE id = :id")
    with service("alert").database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.execute(earlier, {"ago": seconds_ago, "id": alert_id})
    return alert_id


def deliver(service, person: Person, alert_id: UUID, channel: str, status: str) -> None:
    event = event_like(
        "alert.delivery_update",
        "notification.topic",
        delivery_id=uuid4(),
        alert_id=alert_id,
        channel=channel,
        status=status,
        at=datetime.now(UTC),
    )
    assert service("alert").deliver(event, person.org_id) == [True]


def test_only_critical_ones_count_and_only_after_a_minute(service, clinician, undelivered):
    raise_alert(service, clinician, "critical", 30)
    raise_alert(service, clinician, "high", 90)
    assert undelivered() == 0
    raise_alert(service, clinician, "critical", 90)
    assert undelivered() == 1


def test_a_delivery_that_reached_somebody_ends_it(service, clinician, undelivered):
    alert_id = raise_alert(service, clinician, "critical", 90)
    deliver(service, clinician, alert_id, "EMAIL", "FAILED")
    deliver(service, clinician, alert_id, "LOG", "SENT")
    assert undelivered() == 1, "a failure and the operators' log reach nobody"
    deliver(service, clinician, alert_id, "EMAIL", "SENT")
    assert undelivered() == 0


def test_somebody_who_acknowledges_it_ends_it(service, clinician, undelivered):
    alert_id = raise_alert(service, clinician, "critical", 90)
    assert undelivered() == 1
    assert service("alert").call("POST", f"/alerts/{alert_id}/ack", clinician, json={}).status_code == 200
    assert undelivered() == 0


def test_a_delivery_before_it_was_critical_does_not_count(service, clinician, undelivered):
    alert_id = raise_alert(service, clinician, "high", 300)
    deliver(service, clinician, alert_id, "EMAIL", "SENT")
    answer = service("alert").call("POST", f"/alerts/{alert_id}/escalate", clinician, json={"level": "critical"})
    assert answer.status_code == 200, answer.text
    earlier = text("UPDATE alert_timeline SET at = at - interval '2 minutes' WHERE alert_id = :id AND step = :step")
    with service("alert").database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.execute(earlier, {"id": alert_id, "step": "delivery_sent"})
        session.execute(earlier, {"id": alert_id, "step": "escalated"})
    assert undelivered() == 1
    deliver(service, clinician, alert_id, "EMAIL", "SENT")
    assert undelivered() == 0
