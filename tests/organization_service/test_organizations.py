"""Organisations through the service: who may make, see and change them, their rules and their contacts."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS
from organization_service import tasks
from tests.support.services import Person

SUPERADMIN = Person(org_id=None, roles=("superadmin",))
NURSES = {"name": "Control de enfermería", "email": "Planta4@hospital.es", "phone": "+34 600 000 000"}


def test_a_superadmin_creates_an_organisation(organizations, create):
    answer = create(name="Clínica Ñandú")
    made = answer.json["data"]
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/organizations/{made['id']}")
    assert organizations.call("GET", answer.headers["Location"], SUPERADMIN).json["data"] == made
    assert organizations.audited(UUID(made["id"])) == ["organization.created"]


def test_nobody_else_creates_one(organizations, admin):
    answer = organizations.call("POST", "/organizations", admin, json={"code": "mine", "name": "Mine"})
    assert (answer.status_code, answer.json["error"]["id"]) == (403, "HG-PERM-001")


def test_a_code_is_given_once(hospital, create):
    assert create(code=hospital["code"]).status_code == 409


def test_members_see_their_own_and_superadmins_all(organizations, hospital, admin, create):
    other = create().json["data"]
    assert [row["id"] for row in organizations.call("GET", "/organizations", admin).json["data"]] == [hospital["id"]]
    seen = {row["id"] for row in organizations.call("GET", "/organizations?limit=200", SUPERADMIN).json["data"]}
    assert {hospital["id"], other["id"]} <= seen
    named = organizations.call("GET", f"/organizations?org_id={other['id']}", SUPERADMIN).json["data"]
    assert [row["id"] for row in named] == [other["id"]]
    found = organizations.call("GET", f"/organizations?code={hospital['code']}", SUPERADMIN).json["data"]
    assert [row["id"] for row in found] == [hospital["id"]]


PATHS = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("GET", "/settings"),
    ("PATCH", "/settings"),
    ("GET", "/contacts"),
    ("POST", "/contacts"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_another_organisation_sees_and_changes_nothing(organizations, hospital, stranger, method, path):
    body = {("PATCH", ""): {"name": "X"}, ("PATCH", "/settings"): {"locale": "en"}, ("POST", "/contacts"): NURSES}
    before = organizations.call("GET", f"/organizations/{hospital['id']}", SUPERADMIN).json
    answers = [
        organizations.call(method, f"/organizations/{id_}{path}", stranger, json=body.get((method, path)))
        for id_ in (hospital["id"], uuid4())
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert len({answer.json["error"]["id"] for answer in answers}) == 1
    assert organizations.call("GET", f"/organizations/{hospital['id']}", SUPERADMIN).json == before
    assert organizations.audited(UUID(hospital["id"])) == ["organization.created"]


def test_postgresql_hides_what_a_query_forgot(organizations, hospital, stranger):
    for table in ("organizations", "org_settings", "org_brands"):
        count = text(f"SELECT count(*) FROM {table} WHERE org_id = :org")
        for scope, rows in ((UUID(hospital["id"]), 1), (stranger.org_id, 0), (None, 0), (ALL_ORGANIZATIONS, 1)):
            with organizations.database.transaction(scope) as session:
                assert session.execute(count, {"org": hospital["id"]}).scalar_one() == rows, table


def test_reading_needs_the_permission_and_so_does_writing(organizations, hospital, admin):
    reader = replace(admin, permissions=frozenset({"organization:read"}))
    path = f"/organizations/{hospital['id']}"
    assert organizations.call("GET", path, reader).status_code == 200
    assert organizations.call("PATCH", path, reader, json={"name": "X"}).status_code == 403
    assert organizations.call("GET", path, replace(admin, permissions=frozenset())).status_code == 403


def test_an_admin_renames_but_the_code_stays(organizations, hospital, admin):
    path = f"/organizations/{hospital['id']}"
    assert organizations.call("PATCH", path, admin, json={"name": "Nuevo"}).json["data"]["name"] == "Nuevo"
    assert organizations.call("PATCH", path, admin, json={"code": "other"}).status_code == 400
    assert organizations.audited(admin.org_id)[-1] == "organization.changed"


def test_a_removed_organisation_is_gone_for_everybody(organizations, hospital, admin):
    path = f"/organizations/{hospital['id']}"
    assert organizations.call("DELETE", path, admin).status_code == 403
    assert organizations.call("DELETE", path, SUPERADMIN).status_code == 204
    for person in (admin, SUPERADMIN):
        assert organizations.call("GET", path, person).status_code == 404
        assert organizations.call("GET", f"{path}/settings", person).status_code == 404
    assert organizations.audited(admin.org_id)[-1] == "organization.removed"


# --- rules ---------------------------------------------------------------------------------------------------------


def test_rules_have_safe_defaults(organizations, hospital, admin):
    rules = organizations.call("GET", f"/organizations/{hospital['id']}/settings", admin).json["data"]
    assert (
        rules.items()
        >= {
            "org_id": hospital["id"],
            "locale": "es",
            "timezone": "UTC",
            "retention_days": 3650,
            "quiet_from": None,
            "second_factor_required": False,
            "patient_scope": "care_team",
        }.items()
    )


def test_rules_change_and_say_so(organizations, hospital, admin):
    path = f"/organizations/{hospital['id']}/settings"
    wanted = {
        "locale": "en",
        "timezone": "Atlantic/Canary",
        "retention_days": 365,
        "quiet_from": "22:00",
        "quiet_until": "07:30",
        "second_factor_required": True,
        "patient_scope": "organization",
    }
    assert organizations.call("PATCH", path, admin, json=wanted).status_code == 200
    assert organizations.call("GET", path, admin).json["data"].items() >= wanted.items()
    event = organizations.outbox("audit.log", admin.org_id)[-1]["data"]
    assert (event["action"], event["details"]) == ("organization.settings_changed", wanted)


def told(organizations, admin):
    """What the other services hear of an organisation's rules, oldest first."""
    return [event["data"] for event in organizations.outbox("organization.rules_changed", admin.org_id)]


def test_other_services_are_told_the_rules_at_the_beginning_and_when_one_changes(organizations, hospital, admin):
    path = f"/organizations/{hospital['id']}/settings"
    for change in ({"patient_scope": "organization"}, {"locale": "en"}, {"retention_days": 90}, {"retention_days": 90}):
        assert organizations.call("PATCH", path, admin, json=change).status_code == 200
    first, second, third = told(organizations, admin)
    assert (first["patient_scope"], first["retention_days"], first["quiet_from"]) == ("care_team", 3650, None)
    assert (second["patient_scope"], second["retention_days"]) == ("organization", 3650)
    assert (third["patient_scope"], third["retention_days"]) == ("organization", 90)
    assert first["settings_version"] < second["settings_version"] < third["settings_version"]


def test_rules_told_in_an_older_form_are_told_again_once(organizations, hospital, admin):
    path = f"/organizations/{hospital['id']}/settings"
    organizations.call("PATCH", path, admin, json={"patient_scope": "organization"})
    with organizations.database.transaction(admin.org_id, technical=True) as session:
        session.execute(text("UPDATE org_settings SET announced = 0"))
    before = told(organizations, admin)
    for _ in range(2):
        while tasks.announce_rules(organizations.database):
            pass
    *earlier, last = told(organizations, admin)
    assert (earlier, last["patient_scope"]) == (before, "organization")
    assert last["settings_version"] > before[-1]["settings_version"]


def test_another_service_reads_the_rules(organizations, hospital, admin):
    token = organizations.service_token("notification", admin.org_id, ("organization:read",))
    answer = organizations.call("GET", f"/organizations/{hospital['id']}/settings", token)
    assert answer.json["data"]["timezone"] == "UTC"


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": "Europe"}, "timezone"),
        ({"retention_days": 1}, "retention_days"),
        ({"quiet_from": "24:00", "quiet_until": "07:00"}, "quiet_from"),
        ({"patient_scope": "everybody"}, "patient_scope"),
        ({"org_id": str(uuid4())}, "org_id"),
    ],
)
def test_bad_rules_are_refused(organizations, hospital, admin, rules, field):
    answer = organizations.call("PATCH", f"/organizations/{hospital['id']}/settings", admin, json=rules)
    assert answer.status_code == 400
    assert [item["field"] for item in answer.json["error"]["details"]] == [field]


def test_half_of_quiet_hours_is_refused(organizations, hospital, admin):
    path = f"/organizations/{hospital['id']}/settings"
    answer = organizations.call("PATCH", path, admin, json={"quiet_from": "22:00"})
    assert (answer.status_code, answer.json["error"]["id"]) == (400, "HG-ORG-002")
    assert organizations.call("GET", path, admin).json["data"]["quiet_from"] is None


# --- contacts ------------------------------------------------------------------------------------------------------


@pytest.fixture
def nurses(organizations, hospital, admin):
    answer = organizations.call("POST", f"/organizations/{hospital['id']}/contacts", admin, json=NURSES)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def test_a_contact_lives_and_each_write_is_audited(organizations, hospital, admin, nurses):
    made = organizations.call("GET", nurses, admin).json["data"]
    assert made.items() >= (NURSES | {"email": "planta4@hospital.es", "function": None}).items()
    changed = organizations.call("PATCH", nurses, admin, json={"phone": None, "function": "Guardia"}).json["data"]
    assert (changed["phone"], changed["function"], changed["email"]) == (None, "Guardia", made["email"])
    contacts = f"/organizations/{hospital['id']}/contacts"
    assert organizations.call("GET", contacts, admin).json["data"] == [changed]
    assert organizations.call("DELETE", nurses, admin).status_code == 204
    assert organizations.call("GET", nurses, admin).status_code == 404
    assert organizations.audited(admin.org_id)[1:] == [
        "organization.contact_added",
        "organization.contact_changed",
        "organization.contact_removed",
    ]
    assert NURSES["phone"] not in str(organizations.outbox("audit.log", admin.org_id))


def test_a_contact_must_be_reachable(organizations, hospital, admin, nurses):
    path = f"/organizations/{hospital['id']}/contacts"
    refused = organizations.call("POST", path, admin, json={"name": "Nadie"})
    emptied = organizations.call("PATCH", nurses, admin, json={"email": None, "phone": None})
    assert [answer.json["error"]["id"] for answer in (refused, emptied)] == ["HG-ORG-001", "HG-ORG-001"]
    assert organizations.call("GET", nurses, admin).json["data"]["phone"] == NURSES["phone"]


def test_a_contact_answers_only_under_its_own_organisation(organizations, hospital, nurses, create):
    other = create().json["data"]
    elsewhere = nurses.replace(hospital["id"], other["id"])
    for method, body in (("GET", None), ("PATCH", {"name": "X"}), ("DELETE", None)):
        assert organizations.call(method, elsewhere, SUPERADMIN, json=body).status_code == 404


def test_who_logs_in_is_asked_for_what_the_organisation_says(organizations, hospital, admin):
    path = f"/organizations/{hospital['id']}/settings"
    for values in ({"locale": "en"}, {"second_factor_required": True}, {"second_factor_required": True}):
        assert organizations.call("PATCH", path, admin, json=values).status_code == 200
    superadmin = Person(org_id=None, roles=("superadmin",))
    assert organizations.call("PATCH", path, superadmin, json={"second_factor_required": False}).status_code == 200
    said = [event["data"] for event in organizations.outbox("organization.rules_changed", admin.org_id)]
    assert [item["second_factor_required"] for item in said] == [False, True, False]
    assert said[0]["settings_version"] < said[1]["settings_version"]
