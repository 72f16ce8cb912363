"""Who sees whom: care teams, links, the organisation's policy, and the broken glass."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
import structlog
from sqlalchemy import text
from structlog.testing import capture_logs

from patient_service import actions
from tests.support.services import event_like

ANA = {"name": "Ana Pérez", "birthdate": "1950-01-02", "sex": "F"}
REASON = {"reason": "Parada en la sala de espera"}


@pytest.fixture
def patients(service):
    return service("patient")


@pytest.fixture
def clinician(clinician):
    """Whom nothing but their care relations shows a patient."""
    return replace(clinician, roles=("clinician",))


@pytest.fixture
def admin(clinician):
    return replace(clinician, user_id=uuid4(), roles=("org_admin",))


@pytest.fixture
def colleague(clinician):
    return replace(clinician, user_id=uuid4())


@pytest.fixture
def make(patients, admin):
    """Make something as an administrator, whom no care relation binds; returns it."""

    def send(path, body):
        answer = patients.call("POST", path, admin, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json["data"]

    return send


@pytest.fixture
def ana(make):
    return make("/patients", ANA)


def seen(patients, person):
    """The patients that somebody finds, which are those they can open and no others."""
    return {row["id"] for row in patients.call("GET", "/patients?limit=200", person).json["data"]}


def set_scope(patients, person, scope, version=1):
    event = event_like(
        "organization.rules_changed",
        "organization.topic",
        second_factor_required=False,
        patient_scope=scope,
        settings_version=version,
    )
    assert patients.deliver(event, person.org_id) == [True]


def test_a_clinician_sees_the_patients_of_their_teams_only(patients, clinician, colleague, make, ana):
    bea = make("/patients", ANA | {"name": "Bea Gil"})
    team = make("/care-teams", {"name": "Cardio"})
    make(f"/patients/{ana['id']}/care-teams", {"care_team_id": team["id"]})
    assert seen(patients, clinician) == set()
    make(f"/care-teams/{team['id']}/members", {"user_id": str(clinician.user_id), "role": "doctor"})
    assert (seen(patients, clinician), seen(patients, colleague)) == ({ana["id"]}, set())
    for method, body in (("GET", None), ("PATCH", {"name": "X"}), ("DELETE", None)):
        hidden = patients.call(method, f"/patients/{bea['id']}", clinician, json=body)
        absent = patients.call(method, f"/patients/{uuid4()}", clinician, json=body)
        assert hidden.status_code == absent.status_code == 404
        assert hidden.json["error"]["id"] == absent.json["error"]["id"]
    gone = patients.call("DELETE", f"/care-teams/{team['id']}/members/{clinician.user_id}", clinician)
    assert gone.status_code == 204
    assert seen(patients, clinician) == set()


@pytest.mark.parametrize("role", ["org_admin", "org_viewer", "superadmin"])
def test_administrators_and_viewers_see_all(patients, colleague, ana, role):
    assert seen(patients, replace(colleague, roles=("clinician", role))) == {ana["id"]}


def test_a_role_of_ones_own_sees_no_more_than_a_clinician(patients, colleague, ana):
    assert seen(patients, replace(colleague, roles=("auditor",))) == set()
    assert seen(patients, replace(colleague, roles=())) == set()


def test_the_organisation_may_show_all_to_its_clinicians_and_to_nobody_else(patients, clinician, stranger, ana):
    set_scope(patients, clinician, "organization")
    set_scope(patients, stranger, "care_team")
    assert seen(patients, clinician) == {ana["id"]}
    assert seen(patients, stranger) == set()
    for role in ("caregiver", "patient"):
        assert seen(patients, replace(clinician, roles=(role,))) == set()
    set_scope(patients, clinician, "care_team", version=2)
    set_scope(patients, clinician, "organization", version=1)  # late
    assert seen(patients, clinician) == set()


def test_whoever_registers_a_patient_sees_them_to_entrust_them(patients, clinician, colleague):
    made = patients.call("POST", "/patients", clinician, json=ANA).json["data"]
    assert (seen(patients, clinician), seen(patients, colleague)) == ({made["id"]}, set())
    expire(patients, clinician)
    assert seen(patients, clinician) == set()


def expire(patients, person):
    """An hour passes."""
    with patients.database.transaction(person.org_id, technical=True) as session:
        session.execute(text("UPDATE patient_access SET expires_at = now()"))


def test_nobody_lets_themselves_into_a_team_with_patients_they_may_not_see(patients, clinician, colleague, make, ana):
    team = make("/care-teams", {"name": "Cardio"})
    join = f"/care-teams/{team['id']}/members"
    make(f"/patients/{ana['id']}/care-teams", {"care_team_id": team["id"]})
    me = {"user_id": str(clinician.user_id), "role": "doctor"}
    assert patients.call("POST", join, clinician, json=me).status_code == 403
    assert patients.call("POST", join, colleague, json=me).status_code == 201
    assert seen(patients, clinician) == {ana["id"]}


# --- the broken glass ----------------------------------------------------------------------------------------------


def test_a_broken_glass_opens_one_patient_for_an_hour_and_is_loud(
    patients, clinician, colleague, admin, make, ana, monkeypatch
):
    monkeypatch.setattr(actions, "log", structlog.get_logger())  # one that has written keeps its processors
    make("/patients", ANA | {"name": "Bea Gil"})
    path = f"/patients/{ana['id']}/access"
    with capture_logs() as lines:
        answer = patients.call("POST", path, clinician, json=REASON)
    access = answer.json["data"]
    assert (answer.status_code, answer.headers["Location"]) == (201, f"{path}/{access['id']}")
    assert (seen(patients, clinician), seen(patients, colleague)) == ({ana["id"]}, set())
    assert [line["log_level"] for line in lines if line["event"] == "patient.access_opened"] == ["warning"]
    (event,) = [
        item["data"]
        for item in patients.outbox("audit.log", clinician.org_id)
        if item["data"]["action"] == "patient.access_opened"
    ]
    assert (event["actor"], event["details"]) == (
        str(clinician.user_id),
        {"patient_id": ana["id"], "minutes": 60},
    )
    (listed,) = patients.call("GET", path, admin).json["data"]
    assert (listed["user_id"], listed["reason"]) == (str(clinician.user_id), REASON["reason"])
    with patients.database.transaction(clinician.org_id) as session:
        minutes = session.scalar(text("SELECT extract(epoch FROM expires_at - created_at) / 60 FROM patient_access"))
    assert round(minutes) == 60
    expire(patients, clinician)
    assert seen(patients, clinician) == set()


def test_the_glass_is_broken_by_staff_with_a_reason_within_the_organisation(patients, clinician, stranger, ana):
    path = f"/patients/{ana['id']}/access"
    for role in ("caregiver", "patient"):
        assert patients.call("POST", path, replace(clinician, roles=(role,)), json=REASON).status_code == 403
    reader = replace(clinician, permissions=frozenset({"patient:read"}))
    assert patients.call("POST", path, reader, json=REASON).status_code == 403
    assert patients.call("POST", path, clinician, json={}).status_code == 400
    assert patients.call("POST", path, clinician, json={"reason": "x"}).status_code == 400
    assert patients.call("POST", path, stranger, json=REASON).status_code == 404
    assert patients.call("GET", path, clinician).status_code == 404
    assert seen(patients, clinician) == set()


# --- what other services ask ---------------------------------------------------------------------------------------


def test_other_services_are_told_the_same(patients, clinician, admin, make, ana):
    make("/patients", ANA | {"name": "Bea Gil"})
    caregiver = replace(clinician, user_id=uuid4(), roles=("caregiver",))
    make(f"/patients/{ana['id']}/caregivers", {"user_id": str(caregiver.user_id), "relation": "child"})
    patients.call("POST", f"/patients/{ana['id']}/access", clinician, json=REASON)

    def care(person):
        token = patients.service_token("alert", person.org_id)
        body = {"user_id": str(person.user_id), "roles": list(person.roles)}
        return patients.call("POST", "/internal/care", token, json=body).json["data"]

    for person in (clinician, caregiver, replace(clinician, user_id=uuid4())):
        assert care(person) == {"everyone": False, "patient_ids": sorted(seen(patients, person))}
    everyone = {"everyone": True, "patient_ids": []}
    assert care(admin) == everyone
    set_scope(patients, clinician, "organization")
    assert care(clinician) == everyone
    assert care(caregiver) == {"everyone": False, "patient_ids": [ana["id"]]}
    assert patients.call("POST", "/internal/care", clinician, json={}).status_code == 401
