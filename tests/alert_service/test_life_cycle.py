"""What people do with alerts: the states, who may, what the timeline says, and what another organisation sees."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.alert_service.alert_ward import OBSERVED

STEPS = ("ack", "resolve", "close")
REACHED_BY = {
    "created": (),
    "notified": ("notified",),
    "ack": ("ack",),
    "resolved": ("ack", "resolve"),
    "closed": ("ack", "resolve", "close"),
}
ALLOWED = {("created", "ack"), ("notified", "ack"), ("ack", "resolve"), ("resolved", "close")} | {
    (status, step) for status in ("created", "notified", "ack") for step in ("assign", "escalate", "shelve")
}
BODIES = {"assign": {"user_id": str(uuid4())}, "shelve": {"minutes": 5, "note": "Cambio de electrodos"}}


@pytest.mark.parametrize("status", REACHED_BY)
@pytest.mark.parametrize("step", [*STEPS, "assign", "escalate", "shelve"])
def test_every_step_from_every_state(ward, status, step):
    ward.tell(uuid4())
    alert = ward.alert()
    for name in REACHED_BY[status]:
        if name == "notified":
            ward.delivery(alert["id"], "SENT", OBSERVED)
        else:
            assert ward.step(alert["id"], name).status_code == 200
    assert ward.alert()["status"] == status
    before = ward.steps(alert["id"])
    answer = ward.step(alert["id"], step, BODIES.get(step))
    if (status, step) in ALLOWED:
        assert answer.status_code == 200, answer.text
        return
    assert (answer.status_code, answer.json["error"]["id"]) == (409, "HG-ALR-001")
    assert f"«{status}»" in answer.json["error"]["message"]
    assert ward.steps(alert["id"]) == before


def test_the_timeline_tells_every_step_with_its_delay_and_actor(ward):
    ward.tell(uuid4())
    alert = ward.alert()
    ward.delivery(alert["id"], "SENT", OBSERVED + timedelta(seconds=3))
    ward.step(alert["id"], "ack", {"note": "Voy"})
    ward.step(alert["id"], "resolve", {"outcome": "true_alarm"})
    ward.step(alert["id"], "close")
    timeline = ward.timeline(alert["id"])
    by_step = {item["step"]: item for item in timeline}
    assert list(by_step) == [
        "observed",
        "detected",
        "delivery_sent",
        "notified",
        "created",
        "paged",
        "acknowledged",
        "resolved",
        "closed",
    ]
    assert [by_step[step]["delay_s"] for step in ("observed", "detected", "notified")] == [0, 2, 3]
    assert by_step["detected"]["actor"] == "model:ecg_rhythm 1.0.0"
    assert by_step["acknowledged"]["actor"] == str(ward.person.user_id)
    assert by_step["acknowledged"]["note"] == "Voy"
    recorded = {action for action in ward.service.audited(ward.person.org_id)}
    assert recorded >= {f"alert.{step}" for step in by_step} - {"alert.observed", "alert.detected"}


def test_notes_stay_out_of_audit_and_bus(ward):
    ward.tell(uuid4())
    ward.step(ward.alert()["id"], "ack", {"note": "canario clínico"})
    assert "canario" not in str(ward.service.outbox(org_id=ward.person.org_id))


def test_of_two_who_acknowledge_at_once_one_wins(ward):
    ward.tell(uuid4())
    alert = ward.alert()
    client = ward.service.app.test_client
    headers = {"Authorization": f"Bearer {ward.service.token(ward.person)}"}

    def acknowledge(_):
        return client().post(f"/alerts/{alert['id']}/ack", json={}, headers=headers).status_code

    with ThreadPoolExecutor(4) as pool:
        codes = sorted(pool.map(acknowledge, range(8)))
    assert codes == [200] + [409] * 7
    assert ward.steps(alert["id"]).count("acknowledged") == 1


@pytest.mark.parametrize(
    ("statuses", "ends"),
    [
        (["SENT"], "notified"),
        (["DELIVERED", "SENT"], "notified"),
        (["QUEUED", "FAILED"], "created"),
        (["READ"], "notified"),
    ],
)
def test_the_first_delivery_that_reached_somebody_notifies(ward, statuses, ends):
    ward.tell(uuid4())
    alert = ward.alert()
    for status in statuses:
        ward.delivery(alert["id"], status, OBSERVED)
    assert ward.alert()["status"] == ends
    assert ward.steps(alert["id"]).count("notified") == (ends == "notified")


def test_a_late_delivery_update_never_moves_an_alert_back(ward):
    ward.tell(uuid4())
    alert = ward.alert()
    ward.step(alert["id"], "ack")
    ward.delivery(alert["id"], "SENT", OBSERVED)
    assert ward.alert()["status"] == "ack"
    assert "delivery_sent" in ward.steps(alert["id"])
    assert "notified" not in ward.steps(alert["id"])


def test_a_failed_delivery_says_why(ward):
    ward.tell(uuid4())
    alert = ward.alert()
    ward.delivery(alert["id"], "FAILED", OBSERVED, reason="no_recipient")
    (failed,) = [item for item in ward.timeline(alert["id"]) if item["step"] == "delivery_failed"]
    assert failed["details"]["reason"] == "no_recipient"


def test_an_alert_by_hand_takes_its_types_default_level(ward):
    body = {
        "patient_id": str(ward.patient_id),
        "type": "HYPERTENSION",
        "location": {"latitude": 40.4, "longitude": -3.7},
    }
    answer = ward.service.call("POST", "/alerts", ward.person, json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/alerts/{answer.json['data']['id']}"
    alert = ward.alert()
    assert (alert["level"], alert["source"], alert["inference_id"]) == ("medium", "manual", None)
    assert alert["location"] == body["location"]
    assert len(ward.pages()) == 2


def test_an_alert_by_hand_keeps_within_its_types_range(ward):
    body = {"patient_id": str(ward.patient_id), "type": "FEVER", "level": "critical"}
    answer = ward.service.call("POST", "/alerts", ward.person, json=body)
    assert (answer.status_code, answer.json["error"]["id"]) == (400, "HG-ALR-002")
    answer = ward.service.call("POST", "/alerts", ward.person, json=body | {"type": "UNHEARD_OF"})
    assert answer.json["error"]["details"] == [{"field": "type", "issue": "valor no admitido"}]


def test_half_a_location_is_refused(ward):
    body = {"patient_id": str(ward.patient_id), "type": "FEVER", "location": {"latitude": 40.4}}
    answer = ward.service.call("POST", "/alerts", ward.person, json=body)
    assert answer.json["error"]["details"] == [{"field": "location.longitude", "issue": "requerido"}]


def test_escalating_by_hand_pages_again_and_may_raise_the_level(ward):
    ward.tell(uuid4(), level="high")
    alert = ward.alert()
    assert ward.step(alert["id"], "escalate").json["data"]["level"] == "high"
    assert ward.step(alert["id"], "escalate", {"level": "critical"}).json["data"]["level"] == "critical"
    assert len(ward.pages()) == 6
    answer = ward.step(alert["id"], "escalate", {"level": "medium"})
    assert (answer.status_code, answer.json["error"]["id"]) == (409, "HG-ALR-003")


def test_assigning_names_who_is_responsible(ward):
    ward.tell(uuid4())
    user_id = str(uuid4())
    assert ward.step(ward.alert()["id"], "assign", {"user_id": user_id}).json["data"]["assigned_to"] == user_id


def test_the_list_filters(ward):
    ward.tell(uuid4(), level="medium")
    ward.tell(uuid4(), event_type="DESAT", level="critical", observed_at=OBSERVED + timedelta(hours=1))
    desat, arrhythmia = ward.alerts()
    ward.step(desat["id"], "ack")
    for query, expected in {
        "&status=ack": [desat],
        "&status=created&status=ack": [desat, arrhythmia],
        "&level=medium": [arrhythmia],
        "&type=DESAT": [desat],
        "&from=2026-03-01T12:30:00Z": [desat],
        "&to=2026-03-01T12:30:00Z": [arrhythmia],
        "&from=2026-03-01T12:30:00Z&to=2026-03-01T12:40:00Z": [],
    }.items():
        assert [item["id"] for item in ward.alerts(query)] == [item["id"] for item in expected], query


def test_another_organisation_sees_and_changes_nothing(ward, stranger):
    ward.tell(uuid4())
    alert = ward.alert()
    for method, path in [("GET", ""), ("GET", "/timeline"), *(("POST", f"/{step}") for step in STEPS)]:
        answer = ward.service.call(
            method, f"/alerts/{alert['id']}{path}", stranger, json={} if method == "POST" else None
        )
        assert (answer.status_code, answer.json["error"]["id"]) == (404, "HG-NF-001")
    assert ward.service.call("GET", "/alerts", stranger).json["data"] == []
    assert ward.alert() == alert


def test_acknowledging_needs_its_permission_and_a_person(ward):
    ward.tell(uuid4())
    alert_id = ward.alert()["id"]
    reader = replace(ward.person, permissions=frozenset({"alert:read", "alert:manage"}))
    assert ward.step(alert_id, "ack", person=reader).status_code == 403
    robot = ward.service.service_token("inference", ward.person.org_id, ("alert:ack",))
    assert ward.step(alert_id, "ack", person=robot).status_code == 403
    assert ward.alert()["status"] == "created"


def test_an_alert_comes_in_xml_too(ward):
    ward.tell(uuid4())
    headers = {"Accept": "application/xml"}
    answer = ward.service.call("GET", f"/alerts/{ward.alert()['id']}", ward.person, headers=headers)
    assert "<type>ARRHYTHMIA</type>" in answer.text
