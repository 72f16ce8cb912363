"""Who sees an alert: whoever may see its patient, as the patient service says, also while that is away."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from common.cache import Pause


@pytest.fixture
def alert(ward):
    ward.tell(uuid4())
    return ward.alert()


@pytest.fixture(autouse=True)
def no_pause(ward, monkeypatch):
    """No test leaves the service alone for the next."""
    monkeypatch.setattr(ward.service.service.resources["care"], "_pause", Pause(5))


def person_of(ward, role):
    return replace(ward.person, user_id=uuid4(), roles=(role,))


def statuses(ward, person, alert_id):
    """What somebody gets for an alert: to read it, its timeline, and to acknowledge it."""
    path = f"/alerts/{alert_id}"
    answers = [ward.service.call("GET", f"{path}{rest}", person) for rest in ("", "/timeline")]
    return [answer.status_code for answer in (*answers, ward.step(alert_id, "ack", person=person))]


@pytest.mark.parametrize("role", ["clinician", "caregiver", "patient"])
def test_people_see_the_alerts_of_those_whom_they_may_see(ward, alert, cared_for, role):
    person = person_of(ward, role)
    cared_for(person, uuid4())
    assert ward.service.call("GET", "/alerts", person).json["data"] == []
    assert statuses(ward, person, alert["id"]) == statuses(ward, person, uuid4()) == [404, 404, 404]
    cared_for(person, ward.patient_id)
    assert [row["id"] for row in ward.service.call("GET", "/alerts", person).json["data"]] == [alert["id"]]
    assert statuses(ward, person, alert["id"]) == [200, 200, 200]


def test_nobody_raises_an_alert_about_a_patient_out_of_sight(ward, cared_for):
    person = person_of(ward, "clinician")
    body = {"patient_id": str(ward.patient_id), "type": "FEVER"}
    assert ward.service.call("POST", "/alerts", person, json=body).status_code == 404
    assert ward.alerts() == []
    cared_for(person, ward.patient_id)
    assert ward.service.call("POST", "/alerts", person, json=body).status_code == 201


def test_an_alarm_is_acknowledged_although_the_patient_service_is_away(ward, alert, cared_for, monkeypatch):
    known, unknown = person_of(ward, "clinician"), person_of(ward, "clinician")
    for person in (known, unknown):
        cared_for(person, ward.patient_id)
    assert ward.service.call("GET", f"/alerts/{alert['id']}", known).status_code == 200
    with monkeypatch.context() as away:
        away.setenv("PATIENT_URL", "http://127.0.0.1:1")
        assert statuses(ward, known, alert["id"]) == [200, 200, 200]
        answer = ward.service.call("GET", f"/alerts/{alert['id']}", unknown)
        assert (answer.status_code, answer.json["error"]["id"]) == (503, "HG-SRV-002")
        changed = replace(known, roles=("caregiver",))
        assert ward.service.call("GET", "/alerts", changed).status_code == 503
        elsewhere = replace(known, org_id=uuid4())
        assert ward.service.call("GET", "/alerts", elsewhere).status_code == 503


def test_while_it_is_there_what_it_says_holds(ward, alert, cared_for, service):
    person = person_of(ward, "caregiver")
    cared_for(person, ward.patient_id)
    assert ward.service.call("GET", f"/alerts/{alert['id']}", person).status_code == 200
    removed = service("patient").call("DELETE", f"/patients/{ward.patient_id}", ward.person)
    assert removed.status_code == 204
    assert ward.service.call("GET", f"/alerts/{alert['id']}", person).status_code == 404
