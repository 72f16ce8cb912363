"""People through the service: their own profile and wishes, and what others of their organisation see."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS
from tests.support.services import event_like

NIGHTS = {"timezone": "Europe/Madrid", "quiet_from": "22:00", "quiet_until": "07:00"}


@pytest.fixture
def users(service):
    return service("user")


@pytest.fixture
def somebody(clinician):
    """A user without any permission."""
    return replace(clinician, permissions=frozenset(), user_id=uuid4())


# --- profiles ------------------------------------------------------------------------------------------------------


def test_a_profile_is_empty_until_something_is_said(users, somebody):
    before = users.call("GET", "/users/me", somebody).json["data"]
    assert before == dict.fromkeys(("display_name", "job_title", "phone", "updated_at")) | {"id": str(somebody.user_id)}
    said = {"display_name": "Ana", "job_title": "Cardióloga", "phone": "+34 600 000 000"}
    assert users.call("PATCH", "/users/me", somebody, json=said).status_code == 200
    assert users.call("PATCH", "/users/me", somebody, json={"phone": None}).status_code == 200
    assert users.call("GET", "/users/me", somebody).json["data"].items() >= (said | {"phone": None}).items()
    assert users.audited(somebody.org_id) == ["user.profile_changed"] * 2
    assert said["phone"] not in str(users.outbox("audit.log", somebody.org_id))


def test_a_service_has_no_profile(users, clinician):
    token = users.service_token("alert", clinician.org_id)
    assert users.call("GET", "/users/me", token).status_code == 403
    assert users.call("PATCH", "/preferences", token, json={"language": "en"}).status_code == 403


def test_members_are_seen_in_their_own_organisation_only(users, auth, clinician, stranger, somebody):
    users.call("PATCH", "/users/me", somebody, json={"display_name": "Ana Ruiz"})
    path = f"/users/{somebody.user_id}"
    assert [row["display_name"] for row in users.call("GET", "/users?q=ruiz", clinician).json["data"]] == ["Ana Ruiz"]
    assert users.call("GET", path, clinician).json["data"]["display_name"] == "Ana Ruiz"
    assert users.call("GET", "/users", stranger).json["data"] == []
    for method, body in (("GET", None), ("PATCH", {"display_name": "X"})):
        foreign = users.call(method, path, stranger, json=body)
        absent = users.call(method, f"/users/{uuid4()}", stranger, json=body)
        assert foreign.status_code == absent.status_code == 404
        assert foreign.json["error"]["id"] == absent.json["error"]["id"]
    assert users.audited(stranger.org_id) == []


def test_postgresql_hides_what_a_query_forgot(users, clinician, stranger, somebody):
    users.call("PATCH", "/users/me", somebody, json={"display_name": "Ana"})
    users.call("PATCH", "/preferences", somebody, json={"language": "en"})
    device = {"platform": "ios", "name": "Mi teléfono", "fingerprint": "installation-1"}
    users.call("POST", "/users/me/devices", somebody, json=device)
    for table, person in (("user_profiles", "id"), ("user_preferences", "id"), ("user_devices", "user_id")):
        count = text(f"SELECT count(*) FROM {table} WHERE {person} = :person")
        for scope, rows in ((clinician.org_id, 1), (stranger.org_id, 0), (None, 0), (ALL_ORGANIZATIONS, 1)):
            with users.database.transaction(scope) as session:
                assert session.execute(count, {"person": somebody.user_id}).scalar_one() == rows, (table, scope)


def test_an_admin_fills_in_the_profile_of_somebody_whom_only_auth_knows(users, clinician, colleague):
    assert users.call("GET", f"/users/{colleague}", clinician).json["data"]["display_name"] is None
    changed = users.call("PATCH", f"/users/{colleague}", clinician, json={"display_name": "Luis"})
    assert changed.json["data"]["display_name"] == "Luis"
    assert [row["id"] for row in users.call("GET", "/users", clinician).json["data"]] == [colleague]
    roles = {row["role"] for row in users.call("GET", f"/memberships?user_id={colleague}", clinician).json["data"]}
    assert roles == {"clinician", "org_viewer"}
    assert users.audited(clinician.org_id) == ["user.profile_changed"]


def test_a_superadmin_who_looks_into_an_organisation_joins_none(users, clinician):
    superadmin = replace(clinician, org_id=None, user_id=uuid4(), roles=("superadmin",))
    path = f"/users/me?org_id={clinician.org_id}"
    assert users.call("PATCH", path, superadmin, json={"display_name": "Root"}).status_code == 200
    assert users.call("GET", "/users", clinician).json["data"] == []


def test_auth_away_is_said_as_503(users, clinician, monkeypatch):
    monkeypatch.setitem(os.environ, "AUTH_URL", "http://127.0.0.1:9")  # discard: nobody listens
    answer = users.call("GET", f"/users/{uuid4()}", clinician)
    assert (answer.status_code, answer.json["error"]["id"]) == (503, "HG-SRV-002")
    assert "Retry-After" in answer.headers


def test_each_permission_opens_its_own_door(users, somebody):
    for path in ("/users", f"/users/{uuid4()}", "/memberships"):
        assert users.call("GET", path, somebody).status_code == 403
    reader = replace(somebody, permissions=frozenset({"user:read"}))
    assert users.call("PATCH", f"/users/{uuid4()}", reader, json={}).status_code == 403
    assert users.call("POST", "/memberships", reader, json={}).status_code == 403
    assert users.call("DELETE", f"/memberships/{uuid4()}", reader).status_code == 403


# --- preferences ---------------------------------------------------------------------------------------------------


def test_preferences_have_defaults_and_change(users, somebody):
    before = users.call("GET", "/preferences", somebody).json["data"]
    expected = {"language": None, "channels": ["EMAIL", "PUSH"], "timezone": "UTC"}
    assert before == expected | {"quiet_from": None, "quiet_until": None}
    wanted = NIGHTS | {"language": "en", "channels": ["SMS", "EMAIL", "SMS"]}
    after = users.call("PATCH", "/preferences", somebody, json=wanted).json["data"]
    assert after == wanted | {"channels": ["SMS", "EMAIL"]}
    assert users.call("GET", "/preferences", somebody).json["data"] == after
    assert users.audited(somebody.org_id) == ["user.preferences_changed"]


@pytest.mark.parametrize(
    ("preferences", "error"),
    [
        ({"channels": []}, "HG-VAL-001"),
        ({"channels": ["FAX"]}, "HG-VAL-001"),
        ({"timezone": "Mars/Olympus"}, "HG-VAL-001"),
        ({"timezone": "Europe"}, "HG-VAL-001"),
        ({"quiet_from": "7:00", "quiet_until": "08:00"}, "HG-VAL-001"),
        ({"quiet_from": "07:00"}, "HG-USR-001"),
        ({"id": str(uuid4())}, "HG-VAL-001"),
    ],
)
def test_bad_preferences_are_refused(users, somebody, preferences, error):
    answer = users.call("PATCH", "/preferences", somebody, json=preferences)
    assert (answer.status_code, answer.json["error"]["id"]) == (400, error)
    assert users.call("GET", "/preferences", somebody).json["data"]["channels"] == ["EMAIL", "PUSH"]


def ways(users, person, level, at, user_ids):
    token = users.service_token("notification", person.org_id)
    body = {"user_ids": user_ids, "level": level, "at": at}
    return users.call("POST", "/internal/alarm-ways", token, json=body).json["data"]["ways"]


@pytest.mark.parametrize(
    ("at", "wait_until"),
    [
        ("2026-01-10T20:59:59Z", None),  # 21:59:59 in Madrid
        ("2026-01-10T21:00:00Z", "2026-01-11T06:00:00Z"),
        ("2026-01-11T05:59:59Z", "2026-01-11T06:00:00Z"),
        ("2026-01-11T06:00:00Z", None),
        ("2026-07-10T20:00:00Z", "2026-07-11T05:00:00Z"),  # summer time
        ("2026-07-11T05:00:00Z", None),
    ],
)
def test_quiet_hours_pass_midnight_and_never_delay_what_is_urgent(users, somebody, at, wait_until):
    users.call("PATCH", "/preferences", somebody, json=NIGHTS)
    for level, expected in {"low": wait_until, "medium": wait_until, "high": None, "critical": None}.items():
        (way,) = ways(users, somebody, level, at, [str(somebody.user_id)])
        assert way["wait_until"] == expected


def test_the_organisations_quiet_hours_hold_where_people_set_none(users, somebody, stranger):
    rules = {"timezone": "Europe/Madrid", "quiet_from": "22:00", "quiet_until": "07:00", "settings_version": 3}
    event = event_like("organization.rules_changed", "organization.topic", second_factor_required=False, **rules)
    assert users.deliver(event, somebody.org_id) == [True]
    night = "2026-01-10T21:00:00Z"
    assert ways(users, somebody, "medium", night, [str(uuid4())])[0]["wait_until"] == "2026-01-11T06:00:00Z"
    assert ways(users, stranger, "medium", night, [str(uuid4())])[0]["wait_until"] is None
    users.call("PATCH", "/preferences", somebody, json={"quiet_from": "13:00", "quiet_until": "15:00"})
    assert ways(users, somebody, "medium", night, [str(somebody.user_id)])[0]["wait_until"] is None


def test_people_who_said_nothing_are_told_by_the_defaults(users, somebody, stranger):
    users.call("PATCH", "/preferences", somebody, json={"language": "en", "channels": ["SMS"]})
    silent, known = str(uuid4()), str(somebody.user_id)
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    found = ways(users, somebody, "high", now, [silent, known])
    assert [(way["user_id"], way["language"], way["channels"]) for way in found] == [
        (silent, None, ["EMAIL", "PUSH"]),
        (known, "en", ["SMS"]),
    ]
    assert [way["language"] for way in ways(users, stranger, "high", now, [known])] == [None]


def test_only_services_ask_for_ways(users, clinician):
    body = {"user_ids": [str(uuid4())], "level": "low", "at": "2026-01-01T00:00:00Z"}
    assert users.call("POST", "/internal/alarm-ways", clinician, json=body).status_code == 401


# --- memberships ---------------------------------------------------------------------------------------------------


@pytest.fixture
def admin(clinician):
    return replace(clinician, roles=("org_admin",))


def roles_in_auth(auth, admin, user_id):
    return auth.call("GET", f"/auth/users/{user_id}", admin).json["data"]["roles"]


def test_what_auth_does_not_hear_of_is_not_noted_here(users, auth, admin, colleague, monkeypatch):
    body = {"user_id": colleague, "role": "caregiver"}
    made = users.call("POST", "/memberships", admin, json=body).headers["Location"]
    with monkeypatch.context() as away:
        away.setitem(os.environ, "AUTH_URL", "http://127.0.0.1:9")  # discard: nobody listens
        assert users.call("DELETE", made, admin).status_code == 503
    assert users.call("GET", made, admin).status_code == 200
    assert users.call("DELETE", made, admin).status_code == 204


def test_a_role_that_the_suite_does_not_have_is_refused(users, admin, colleague):
    body = {"user_id": colleague, "role": "wizard"}
    answer = users.call("POST", "/memberships", replace(admin, roles=("superadmin",)), json=body)
    assert answer.json["error"]["details"][0]["field"] == "role"


def test_a_membership_lives_and_each_write_is_audited(users, auth, admin, colleague):
    body = {"user_id": colleague, "role": "caregiver"}
    answer = users.call("POST", "/memberships", admin, json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json["data"]
    assert made.items() >= (body | {"org_id": str(admin.org_id)}).items()
    assert users.call("GET", answer.headers["Location"], admin).json["data"] == made
    assert users.call("POST", "/memberships", admin, json=body).status_code == 409
    own = replace(admin, user_id=UUID(colleague), permissions=frozenset())
    assert users.call("GET", "/users/me/memberships", own).json["data"] == [made]
    assert roles_in_auth(auth, admin, colleague) == ["caregiver", "clinician", "org_viewer"]
    assert users.call("DELETE", answer.headers["Location"], admin).status_code == 204
    assert roles_in_auth(auth, admin, colleague) == ["clinician", "org_viewer"]
    assert users.call("GET", answer.headers["Location"], admin).status_code == 404
    assert users.audited(admin.org_id) == ["user.membership_added", "user.membership_removed"]


def test_nobody_gives_or_takes_a_role_above_their_own(users, admin, clinician, colleague):
    clinician = replace(clinician, roles=("clinician",))
    body = {"user_id": colleague, "role": "org_admin"}
    refused = users.call("POST", "/memberships", clinician, json=body)
    assert (refused.status_code, refused.json["error"]["id"]) == (403, "HG-USR-002")
    assert users.call("POST", "/memberships", admin, json=body | {"role": "superadmin"}).status_code == 403
    made = users.call("POST", "/memberships", admin, json=body)
    assert made.status_code == 201
    assert users.call("DELETE", made.headers["Location"], clinician).status_code == 403


def test_nobody_adds_a_person_of_another_organisation(users, auth, admin, stranger, colleague):
    thief = replace(stranger, roles=("org_admin",))
    body = {"user_id": colleague, "role": "clinician"}
    assert users.call("POST", "/memberships", thief, json=body).status_code == 404
    made = users.call("POST", "/memberships", admin, json=body).headers["Location"]
    for method in ("GET", "DELETE"):
        foreign = users.call(method, made, thief)
        absent = users.call(method, f"/memberships/{uuid4()}", thief)
        assert foreign.status_code == absent.status_code == 404
    assert users.call("GET", "/memberships", thief).json["data"] == []
    assert users.call("GET", made, admin).status_code == 200


# --- devices -------------------------------------------------------------------------------------------------------


def test_devices_are_their_owners_only(users, somebody):
    body = {"platform": "android", "name": "Mi teléfono", "fingerprint": "installation-1"}
    answer = users.call("POST", "/users/me/devices", somebody, json=body)
    assert answer.status_code == 201, answer.text
    assert users.call("POST", "/users/me/devices", somebody, json=body).status_code == 409
    assert users.call("GET", answer.headers["Location"], somebody).json["data"] == answer.json["data"]
    neighbour = replace(somebody, user_id=uuid4())
    assert users.call("GET", "/users/me/devices", neighbour).json["data"] == []
    for method in ("GET", "DELETE"):
        assert users.call(method, answer.headers["Location"], neighbour).status_code == 404
    assert users.call("DELETE", answer.headers["Location"], somebody).status_code == 204
    assert users.call("GET", "/users/me/devices", somebody).json["data"] == []
    assert users.audited(somebody.org_id) == ["user.device_added", "user.device_removed"]
