"""Accounts and roles: nobody gives what they do not hold, and nobody reaches into another organisation."""

from __future__ import annotations

import importlib
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import text

from common.permissions import Permission
from tests.support.services import Person

PASSWORD = "tres gatos en el tejado"


def newcomer(**changes):
    return {"name": "Luz Mora", "email": f"{uuid4().hex}@home.test", "password": PASSWORD} | changes


# --- registering -----------------------------------------------------------------------------------------------------


def test_whoever_registers_is_a_patient_without_organisation(auth):
    body = newcomer(language="en")
    answer = auth.call("POST", "/auth/register", json=body)
    assert answer.status_code == 201
    user = answer.json["data"]
    assert user["roles"] == ["patient"]
    assert user["org_id"] is None
    assert answer.headers["Location"] == f"/auth/users/{user['id']}"
    audits = [event["data"] for event in auth.outbox("audit.log") if event["data"]["entity_id"] == user["id"]]
    assert [(audit["actor"], audit["action"]) for audit in audits] == [("anonymous", "user.registered")]


@pytest.mark.parametrize(
    "extra",
    [
        {"roles": ["superadmin"]},
        {"org_id": str(uuid4())},
        {"status": "active"},
        {"id": str(uuid4())},
        {"permissions": ["user:write"]},
        {"password_hash": "x"},
        {"second_factor": False},
    ],
)
def test_registering_takes_nothing_that_escalates(auth, extra):
    answer = auth.call("POST", "/auth/register", json=newcomer(**extra))
    assert answer.status_code == 400
    assert answer.json["error"]["details"] == [{"field": next(iter(extra)), "issue": "campo desconocido"}]


def test_an_organisation_in_the_address_is_refused(auth):
    assert auth.call("POST", f"/auth/register?org_id={uuid4()}", json=newcomer()).status_code == 404


def test_an_address_is_taken_once_whatever_its_case(auth):
    body = newcomer()
    assert auth.call("POST", "/auth/register", json=body).status_code == 201
    again = auth.call("POST", "/auth/register", json=body | {"email": body["email"].upper()})
    assert again.status_code == 409


@pytest.mark.parametrize("length", [11, 129])
def test_passwords_have_12_to_128_characters(auth, length):
    answer = auth.call("POST", "/auth/register", json=newcomer(password=("aB3$xY9!" * 17)[:length]))
    assert answer.json["error"]["details"] == [{"field": "password", "issue": "longitud"}]


@pytest.mark.parametrize(
    "password",
    [
        "password1234",
        "P@ssw0rd!2024",
        "contraseña2024",
        "qwertyuiop[]12345",
        "123456789012",
        "abcabcabcabc",
        "zzzzzzzzzzzzzz",
        "correct horse battery staple",
        "LuzMora-2024",
    ],
)
def test_leaked_regular_and_personal_passwords_are_refused(auth, password):
    answer = auth.call("POST", "/auth/register", json=newcomer(password=password))
    assert answer.status_code == 400
    assert answer.json["error"]["details"] == [{"field": "password", "issue": "demasiado débil o filtrada"}]


def test_a_password_is_the_same_however_a_keyboard_composes_it(auth):
    body = newcomer(password="cigüeña en la torre")  # composed; below: decomposed
    auth.call("POST", "/auth/register", json=body)
    login = {"email": body["email"], "password": "cigu\u0308en\u0303a en la torre"}
    assert auth.call("POST", "/auth/login", json=login).status_code == 200


# --- administering ---------------------------------------------------------------------------------------------------


def test_an_administrator_makes_an_account_in_their_own_organisation(auth, admin):
    answer = auth.call("POST", "/auth/users", admin, json=newcomer(roles=["clinician", "caregiver"]))
    assert answer.status_code == 201
    assert answer.json["data"]["org_id"] == str(admin.org_id)
    assert answer.json["data"]["roles"] == ["caregiver", "clinician"]
    assert auth.audited(admin.org_id) == ["user.created"]


def test_a_superadmin_names_the_organisation(auth, superadmin, admin):
    body = newcomer(roles=["org_admin"])
    assert auth.call("POST", "/auth/users", superadmin, json=body).status_code == 400
    answer = auth.call("POST", f"/auth/users?org_id={admin.org_id}", superadmin, json=body)
    assert answer.json["data"]["org_id"] == str(admin.org_id)
    assert (
        auth.call("POST", f"/auth/users?org_id={uuid4()}", admin, json=newcomer(roles=["patient"])).status_code == 404
    )


@pytest.mark.parametrize("role", ["superadmin", "ops"])
def test_nobody_gives_what_they_do_not_hold(auth, admin, account, role):
    answer = auth.call("POST", "/auth/users", admin, json=newcomer(roles=["clinician", role]))
    assert (answer.status_code, answer.json["error"]["id"]) == (403, "HG-AUTH-009")
    luz = account("clinician")
    assert auth.call("PUT", f"/auth/users/{luz.id}/roles/{role}", admin).status_code == 403


def test_all_permissions_do_not_make_a_superadmin(auth, account, admin):
    mighty = replace(admin, permissions=frozenset(Permission))
    luz = account("clinician")
    assert auth.call("PUT", f"/auth/users/{luz.id}/roles/superadmin", mighty).status_code == 403


def test_a_clinician_makes_no_accounts(auth, account):
    luz = account("clinician").login()
    answer = luz.call("POST", "/auth/users", newcomer(roles=["caregiver"]))
    assert (answer.status_code, answer.json["error"]["id"]) == (403, "HG-PERM-001")


def test_an_unknown_role_is_named(auth, admin):
    answer = auth.call("POST", "/auth/users", admin, json=newcomer(roles=["wizard"]))
    assert answer.json["error"]["details"] == [{"field": "roles", "issue": "valor no admitido"}]


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"name": "X"}),
        ("PUT", "/status", {"status": "blocked"}),
        ("PUT", "/roles/caregiver", None),
        ("DELETE", "/roles/clinician", None),
    ],
)
def test_another_organisation_reaches_nothing(auth, account, admin, method, suffix, body):
    luz = account("clinician")
    stranger = replace(admin, org_id=uuid4(), user_id=uuid4())
    foreign = auth.call(method, f"/auth/users/{luz.id}{suffix}", stranger, json=body)
    absent = auth.call(method, f"/auth/users/{uuid4()}{suffix}", stranger, json=body)
    assert foreign.status_code == absent.status_code == 404
    assert foreign.json["error"]["id"] == absent.json["error"]["id"]
    assert auth.call("GET", f"/auth/users/{luz.id}", admin).json["data"]["roles"] == ["clinician"]


def test_row_security_hides_what_a_query_forgets_to_filter(auth, account):
    luz = account("clinician").login()
    with auth.database.transaction(uuid4()) as session:
        for table in ("users", "user_roles", "sessions", "refresh_tokens"):
            assert session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0, table
    with auth.database.transaction(luz.org_id) as session:
        for table in ("users", "user_roles", "sessions", "refresh_tokens"):
            assert session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 1, table


def test_an_account_is_found_and_changed(auth, account, admin):
    luz, eva = account("clinician"), account("caregiver", name="Eva Ríos")
    found = auth.call("GET", "/auth/users?q=eva", admin).json["data"]
    assert [user["id"] for user in found] == [str(eva.id)]
    found = auth.call("GET", "/auth/users?role=clinician", admin).json["data"]
    assert [user["id"] for user in found] == [str(luz.id)]
    changed = auth.call("PATCH", f"/auth/users/{luz.id}", admin, json={"name": "Luz M.", "language": "en"})
    assert changed.json["data"]["name"] == "Luz M."
    assert auth.audited(admin.org_id)[-1] == "user.changed"


def test_nobody_touches_whom_they_do_not_outrank(auth, account, admin):
    chief = account("org_admin")
    clerk = replace(admin, user_id=uuid4(), permissions=frozenset({"user:read", "user:write"}))
    for method, suffix, body in (("PATCH", "", {"email": "x@y.test"}), ("PUT", "/status", {"status": "blocked"})):
        answer = auth.call(method, f"/auth/users/{chief.id}{suffix}", clerk, json=body)
        assert (answer.status_code, answer.json["error"]["id"]) == (403, "HG-AUTH-009")


def test_nobody_changes_their_own_status_or_roles(auth, account):
    chief = account("org_admin").login()
    assert chief.call("PUT", f"/auth/users/{chief.id}/status", {"status": "blocked"}).status_code == 403
    assert chief.call("PUT", f"/auth/users/{chief.id}/roles/clinician").status_code == 403
    assert chief.call("DELETE", f"/auth/users/{chief.id}/roles/org_admin").status_code == 403


# --- roles -----------------------------------------------------------------------------------------------------------


def test_the_seeded_roles_hold_what_the_code_says(auth, superadmin):
    roles = importlib.import_module("auth_service.roles").ROLES
    found = {role["code"]: role for role in auth.call("GET", "/auth/roles?limit=200", superadmin).json["data"]}
    for code, (_, permissions) in roles.items():
        assert found[code]["permissions"] == sorted(permissions)
        assert found[code]["built_in"] is True
    listed = auth.call("GET", "/auth/permissions", superadmin).json["data"]
    assert [item["code"] for item in listed] == sorted(Permission)


def test_an_administrator_holds_all_that_they_are_to_grant():
    roles = importlib.import_module("auth_service.roles").ROLES
    for code in ("clinician", "caregiver", "patient", "device", "org_viewer", "org_admin"):
        assert roles[code][1] <= roles["org_admin"][1], code


def test_a_role_change_reaches_whoever_holds_it(auth, superadmin, admin, account):
    code = f"role_{uuid4().hex[:8]}"
    body = {"code": code, "name": "Turno de noche", "permissions": ["patient:read"]}
    made = auth.call("POST", "/auth/roles", superadmin, json=body)
    assert (made.status_code, made.headers["Location"]) == (201, f"/auth/roles/{code}")
    luz = account(code).login()
    assert luz.claims.permissions == {"patient:read"}
    answer = auth.call("PUT", f"/auth/roles/{code}/permissions/alert:ack", superadmin)
    assert answer.json["data"]["permissions"] == ["alert:ack", "patient:read"]
    assert not luz.is_let_in
    assert luz.refresh().claims.permissions == {"alert:ack", "patient:read"}
    assert auth.call("DELETE", f"/auth/roles/{code}/permissions/patient:read", superadmin).status_code == 204
    assert luz.refresh().claims.permissions == {"alert:ack"}
    assert auth.call("DELETE", f"/auth/roles/{code}", superadmin).status_code == 409  # somebody holds it
    assert auth.call("DELETE", f"/auth/users/{luz.id}/roles/{code}", admin).status_code == 204
    assert luz.refresh().claims.permissions == set()
    assert auth.call("DELETE", f"/auth/roles/{code}", superadmin).status_code == 204
    assert auth.call("GET", f"/auth/roles/{code}", superadmin).status_code == 404


def test_built_in_roles_stay_and_superadmin_stays_as_it_is(auth, superadmin):
    assert auth.call("DELETE", "/auth/roles/clinician", superadmin).json["error"]["id"] == "HG-AUTH-011"
    answer = auth.call("DELETE", "/auth/roles/superadmin/permissions/user:write", superadmin)
    assert answer.json["error"]["id"] == "HG-AUTH-011"


def test_a_role_gets_no_permission_that_its_maker_lacks(auth):
    maker = Person(permissions=frozenset({"role:write", "role:read"}))
    body = {"code": f"role_{uuid4().hex[:8]}", "name": "X", "permissions": ["audit:export"]}
    assert auth.call("POST", "/auth/roles", maker, json=body).json["error"]["id"] == "HG-AUTH-009"
    answer = auth.call("PUT", "/auth/roles/ops/permissions/audit:export", maker)
    assert answer.json["error"]["id"] == "HG-AUTH-009"


def test_catalogues(account):
    luz = account("patient").login()
    listed = luz.call("GET", "/auth/catalogs/user-statuses").json["data"]
    assert {item["code"]: item["label_es"] for item in listed} == {
        "active": "Activo",
        "blocked": "Bloqueado",
        "pending": "Pendiente",
    }
    assert luz.call("GET", "/auth/catalogs/nothing").status_code == 404


def test_contacts_are_the_active_users_of_the_organisation(auth, account, admin):
    luz, eva = account("clinician", language="en"), account("clinician")
    auth.call("PUT", f"/auth/users/{eva.id}/status", admin, json={"status": "blocked"})
    body = {"user_ids": [str(luz.id), str(eva.id), str(uuid4())]}
    answer = auth.call("POST", "/internal/contacts", auth.service_token("notification", admin.org_id), json=body)
    assert answer.json["data"] == {"contacts": [{"user_id": str(luz.id), "email": luz.email, "language": "en"}]}
    foreign = auth.call("POST", "/internal/contacts", auth.service_token("notification", uuid4()), json=body)
    assert foreign.json["data"] == {"contacts": []}
    assert auth.call("POST", "/internal/contacts", admin, json=body).status_code == 401


def test_whoever_accepts_an_invitation_joins_with_claims_at_the_next_refresh(auth, registered, admin):
    luz = registered.login()
    assert luz.claims.org_id is None
    path, body = f"/internal/users/{luz.id}/organization", {"role": "caregiver"}
    organization = auth.service_token("organization", admin.org_id)
    assert auth.call("PUT", path, admin, json=body).status_code == 401
    assert auth.call("PUT", path, organization, json={"role": "superadmin"}).status_code == 404
    answer = auth.call("PUT", path, organization, json=body)
    assert answer.json["data"]["roles"] == ["caregiver", "patient"]
    assert not luz.is_let_in
    luz.refresh()
    assert luz.claims.org_id == admin.org_id
    assert "alert:ack" in luz.claims.permissions
    assert auth.audited(admin.org_id)[0] == "user.joined"
    assert auth.call("PUT", path, organization, json=body).status_code == 200  # a second time changes nothing
    assert luz.is_let_in
