"""Patients through the service: what the contract promises, in both formats, and who sees whom."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

ANA = {"name": "Ana Pérez", "birthdate": "1950-01-02", "sex": "F", "risk_level": "high"}


@pytest.fixture
def patients(service):
    return service("patient")


@pytest.fixture
def ana(patients, clinician):
    return patients.call("POST", "/patients", clinician, json=ANA).json["data"]


def test_register_answers_201_with_location_and_audits(patients, clinician):
    answer = patients.call("POST", "/patients", clinician, json=ANA)
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/patients/{answer.json['data']['id']}"
    assert answer.json["data"].items() >= ANA.items()
    assert patients.audited(clinician.org_id) == ["patient.registered"]


def test_the_same_patient_comes_back_in_xml(patients, clinician, ana):
    answer = patients.call("GET", f"/patients/{ana['id']}", clinician, headers={"Accept": "application/xml"})
    assert f"<name>{ANA['name']}</name>" in answer.text
    assert "<email>" not in answer.text  # null elements are left out


def test_reading_a_patient_is_audited(patients, clinician, ana):
    patients.call("GET", f"/patients/{ana['id']}", clinician)
    assert patients.audited(clinician.org_id)[-1] == "patient.read"


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_another_organisation_sees_nothing(patients, stranger, ana, method):
    body = {"name": "X"} if method == "PATCH" else None
    foreign = patients.call(method, f"/patients/{ana['id']}", stranger, json=body)
    absent = patients.call(method, f"/patients/{uuid4()}", stranger, json=body)
    assert foreign.status_code == absent.status_code == 404
    assert foreign.json["error"]["id"] == absent.json["error"]["id"] == "HG-NF-001"


def test_a_caregiver_sees_only_linked_patients(patients, clinician, ana):
    caregiver = replace(clinician, user_id=uuid4(), roles=("caregiver",))
    assert patients.call("GET", f"/patients/{ana['id']}", caregiver).status_code == 404
    link = {"user_id": str(caregiver.user_id), "relation": "spouse"}
    assert patients.call("POST", f"/patients/{ana['id']}/caregivers", clinician, json=link).status_code == 201
    assert patients.call("GET", f"/patients/{ana['id']}", caregiver).status_code == 200
    assert [row["id"] for row in patients.call("GET", "/patients", caregiver).json["data"]] == [ana["id"]]


def test_a_caregiver_whose_link_was_ended_sees_the_patient_no_longer(patients, clinician, ana):
    caregiver = replace(clinician, user_id=uuid4(), roles=("caregiver",))
    links, link = f"/patients/{ana['id']}/caregivers", {"user_id": str(caregiver.user_id), "relation": "spouse"}
    made = patients.call("POST", links, clinician, json=link)
    path = made.headers["Location"]
    assert patients.call("GET", path, clinician).json["data"] == made.json["data"]
    assert patients.call("POST", links, clinician, json=link).status_code == 409
    assert patients.call("DELETE", path, clinician).status_code == 204
    assert patients.audited(clinician.org_id)[-1] == "patient.caregiver_unlinked"
    assert patients.call("GET", f"/patients/{ana['id']}", caregiver).status_code == 404
    assert patients.call("GET", path, clinician).json["data"]["ended_at"] is not None
    assert patients.call("DELETE", path, clinician).status_code == 404

    again = patients.call("POST", links, clinician, json=link | {"relation": "friend"})
    assert (again.status_code, again.headers["Location"]) == (201, path)
    assert (again.json["data"]["relation"], again.json["data"]["ended_at"]) == ("friend", None)
    assert patients.call("GET", f"/patients/{ana['id']}", caregiver).status_code == 200


def test_every_problem_of_a_body_is_listed(patients, clinician):
    answer = patients.call("POST", "/patients", clinician, json={"name": "", "sex": "Q", "id": "x"})
    assert answer.status_code == 400
    found = {(item["field"], item["issue"]) for item in answer.json["error"]["details"]}
    assert found == {
        ("name", "longitud"),
        ("sex", "valor no admitido"),
        ("birthdate", "requerido"),
        ("id", "campo desconocido"),
    }


def test_a_birthdate_in_the_future_is_refused(patients, clinician):
    answer = patients.call("POST", "/patients", clinician, json=ANA | {"birthdate": "2999-01-01"})
    assert (answer.status_code, answer.json["error"]["id"]) == (400, "HG-PAT-001")


def test_pages_follow_the_cursor(patients, clinician):
    made = [patients.call("POST", "/patients", clinician, json=ANA).json["data"]["id"] for _ in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = patients.call("GET", f"/patients?limit=2{cursor and '&cursor=' + cursor}", clinician).json
        seen += [row["id"] for row in page["data"]]
        cursor = page["meta"]["next_cursor"]
    assert seen == made[::-1]


def test_recipients_are_the_care_teams_members(patients, clinician, ana):
    team = patients.call("POST", "/care-teams", clinician, json={"name": "Cardio"}).json["data"]
    doctor = str(uuid4())
    patients.call("POST", f"/care-teams/{team['id']}/members", clinician, json={"user_id": doctor, "role": "doctor"})
    patients.call("POST", f"/patients/{ana['id']}/care-teams", clinician, json={"care_team_id": team["id"]})
    path = f"/patients/{ana['id']}/recipients"
    internal = patients.service_token("notification", clinician.org_id)
    assert patients.call("GET", path, internal).json["data"] == {"user_ids": [doctor]}
    assert patients.call("GET", path, clinician).status_code == 401
