"""The time from an alarm's data to its alert and to somebody: measured once, and only when it is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from alert_service.tasks import escalate_overdue
from common.database import ALL_ORGANIZATIONS
from common.observability import ALARM_SECONDS, observe_after_commit


def measured(step: str) -> tuple[float, float]:
    """How many were measured, and their seconds in all."""
    count, total = (
        REGISTRY.get_sample_value(f"heartguard_alarm_seconds_{end}", {"step": step}) or 0.0 for end in ("count", "sum")
    )
    return count, total


def test_creation_and_the_first_delivery_to_a_person_are_measured_once(ward):
    observed, episode = datetime.now(UTC) - timedelta(seconds=40), uuid4()
    created, delivered = measured("created"), measured("delivered")
    ward.tell(episode, observed_at=observed)
    count, seconds = (now - before for now, before in zip(measured("created"), created, strict=True))
    assert count == 1 and 40 <= seconds < 60

    alert_id = ward.alert()["id"]
    ward.delivery(alert_id, "SENT", observed + timedelta(seconds=41), channel="LOG")
    ward.delivery(alert_id, "FAILED", observed + timedelta(seconds=42))
    assert measured("delivered") == delivered, "neither a failure nor the operators' log is somebody"
    ward.delivery(alert_id, "SENT", observed + timedelta(seconds=45))
    ward.delivery(alert_id, "DELIVERED", observed + timedelta(seconds=50))
    assert ward.step(alert_id, "ack").status_code == 200
    ward.tell(episode, "raise", level="critical", observed_at=observed)
    ward.delivery(alert_id, "SENT", observed + timedelta(seconds=3000))
    count, seconds = (now - before for now, before in zip(measured("delivered"), delivered, strict=True))
    assert (count, seconds) == (1, pytest.approx(45, abs=0.01))


def test_stale_data_is_not_measured(ward):
    before = measured("created")
    ward.tell(uuid4(), stale=True)
    assert measured("created") == before


def test_what_is_rolled_back_is_not_measured(service):
    before = measured("created")
    with pytest.raises(ZeroDivisionError), service("alert").database.transaction(ALL_ORGANIZATIONS) as session:
        observe_after_commit(session, ALARM_SECONDS.labels("created"), 1.0)
        raise ZeroDivisionError
    assert measured("created") == before


def test_escalations_of_the_clock_are_counted(ward, service):
    labels = {"service": "alert"}
    database = service("alert").database
    while escalate_overdue(database):  # what other tests left
        pass
    before = REGISTRY.get_sample_value("heartguard_alert_escalations_total", labels) or 0
    ward.tell(uuid4())
    due = text("UPDATE alerts SET escalate_at = now() - interval '1 second' WHERE patient_id = :patient")
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.execute(due, {"patient": ward.patient_id})
    assert escalate_overdue(database) == 1
    assert REGISTRY.get_sample_value("heartguard_alert_escalations_total", labels) == before + 1
