"""How people come in: roles inside an organisation, and invitations that are accepted once."""

from __future__ import annotations

import importlib
import os
import threading
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS
from tests.support.services import Person

SUPERVISOR = {"code": "supervision", "name": "Supervisión de planta", "base_role": "clinician"}


@pytest.fixture
def arrive(auth):
    """Register somebody, who is in no organisation yet."""

    def register():
        body = {"name": "Luz Mora", "email": f"{uuid4()}@home.test", "password": "tres gatos en el tejado"}
        answer = auth.call("POST", "/auth/register", json=body)
        assert answer.status_code == 201, answer.text
        user_id = UUID(answer.json["data"]["id"])
        return Person(org_id=None, user_id=user_id, roles=("patient",), permissions=frozenset())

    return register


@pytest.fixture
def newcomer(arrive):
    """A user of no organisation."""
    return arrive()


@pytest.fixture
def invite(organizations, hospital, admin):
    def send(role="clinician", person=admin, **values):
        body = {"email": f"{uuid4()}@hospital.es", "role": role} | values
        return organizations.call("POST", f"/organizations/{hospital['id']}/invitations", person, json=body)

    return send


def accept(organizations, token, person):
    return organizations.call("POST", f"/invitations/{token}/accept", person)


def memberships(users, hospital, person):
    rows = users.call("GET", "/users/me/memberships", person).json["data"]
    return [row["role"] for row in rows if row["org_id"] == hospital["id"]]


def contacts(auth, hospital, person):
    token = auth.service_token("notification", UUID(hospital["id"]))
    body = {"user_ids": [str(person.user_id)]}
    return auth.call("POST", "/internal/contacts", token, json=body).json["data"]["contacts"]


# --- roles ---------------------------------------------------------------------------------------------------------


def test_a_role_lives_and_each_write_is_audited(organizations, hospital, admin):
    roles = f"/organizations/{hospital['id']}/roles"
    answer = organizations.call("POST", roles, admin, json=SUPERVISOR)
    assert answer.status_code == 201, answer.text
    assert answer.json["data"].items() >= SUPERVISOR.items()
    assert organizations.call("POST", roles, admin, json=SUPERVISOR).status_code == 409
    path = answer.headers["Location"]
    assert organizations.call("PATCH", path, admin, json={"name": "Supervisión"}).json["data"]["name"] == "Supervisión"
    assert [row["name"] for row in organizations.call("GET", roles, admin).json["data"]] == ["Supervisión"]
    assert organizations.call("DELETE", path, admin).status_code == 204
    assert organizations.call("GET", path, admin).status_code == 404
    assert organizations.audited(admin.org_id)[1:] == [
        "organization.role_created",
        "organization.role_renamed",
        "organization.role_removed",
    ]


def test_a_role_stands_for_one_of_the_suites(organizations, hospital, admin):
    roles = f"/organizations/{hospital['id']}/roles"
    for base_role in ("superadmin", "ops", "device", "boss"):
        answer = organizations.call("POST", roles, admin, json=SUPERVISOR | {"base_role": base_role})
        assert answer.status_code == 400, base_role


# --- invitations ---------------------------------------------------------------------------------------------------


def test_an_invitation_is_accepted_once_and_makes_a_member(
    organizations, users, auth, hospital, admin, invite, newcomer
):
    made = invite(role="caregiver")
    assert made.status_code == 201, made.text
    token = made.json["data"]["token"]
    answer = accept(organizations, token, newcomer)
    assert answer.json["data"] == {"org_id": hospital["id"], "role": "caregiver"}
    assert memberships(users, hospital, newcomer) == ["caregiver"]
    (contact,) = contacts(auth, hospital, newcomer)  # alarms reach them from now on
    assert contact["user_id"] == str(newcomer.user_id)
    late = accept(organizations, token, replace(newcomer, user_id=uuid4()))
    assert (late.status_code, late.json["error"]["id"]) == (409, "HG-ORG-003")
    assert organizations.call("GET", made.headers["Location"], admin).json["data"]["state"] == "accepted"
    assert organizations.audited(admin.org_id)[1:] == ["organization.invited", "organization.invitation_accepted"]
    assert users.audited(admin.org_id) == ["user.joined"]


def test_the_token_is_shown_once_and_kept_as_a_hash(organizations, hospital, admin, invite):
    made = invite()
    token = made.json["data"]["token"]
    assert len(token) >= 43  # 256 bits
    assert "token" not in organizations.call("GET", made.headers["Location"], admin).json["data"]
    listed = organizations.call("GET", f"/organizations/{hospital['id']}/invitations", admin)
    assert "token" not in listed.json["data"][0]
    assert token not in str(organizations.outbox())
    with organizations.database.transaction(ALL_ORGANIZATIONS) as session:
        assert token not in str(session.execute(text("SELECT i::text FROM org_invitations i")).scalars().all())


def letter(organizations, hospital, made, org_id=None):
    token = organizations.service_token("notification", org_id or UUID(hospital["id"]))
    return organizations.call("GET", f"/internal/invitations/{made.json['data']['id']}", token)


def test_the_letter_holds_the_token_that_was_shown(organizations, hospital, admin, invite):
    made = invite(language="en")
    (queued,) = organizations.outbox("invitation.mail", admin.org_id)
    assert queued["data"] == {"invitation_id": made.json["data"]["id"]}
    told = letter(organizations, hospital, made).json["data"]
    facts = {name: made.json["data"][name] for name in ("email", "language", "token", "expires_at")}
    assert told == facts | {"kind": "invitation", "organization": hospital["name"]}
    assert letter(organizations, hospital, made, uuid4()).status_code == 404
    assert organizations.call("GET", f"/internal/invitations/{uuid4()}", admin).status_code == 401


def test_the_letter_is_in_the_organisations_language_unless_another_is_said(organizations, hospital, admin, invite):
    path = f"/organizations/{hospital['id']}/settings"
    organizations.call("PATCH", path, admin, json={"locale": "en"})
    assert letter(organizations, hospital, invite()).json["data"]["language"] == "en"
    assert letter(organizations, hospital, invite(language="es")).json["data"]["language"] == "es"


def test_a_letter_that_serves_nobody_is_not_sent(organizations, hospital, admin, invite):
    made = invite()
    organizations.call("DELETE", made.headers["Location"], admin)
    assert letter(organizations, hospital, made).status_code == 404


def test_a_letter_is_made_again_while_its_key_is_known(organizations):
    settings = organizations.service.settings
    fresh = replace(settings, internal_signing_keys=["k2:" + "x" * 43, *settings.internal_signing_keys])
    gone = replace(settings, internal_signing_keys=["k2:" + "x" * 43])
    invitation_tokens = importlib.import_module("organization_service.invitation_tokens")
    invitation_id, kind = uuid4(), invitation_tokens.InvitationTokens
    token = kind(settings).make(invitation_id)
    assert kind(fresh).make(invitation_id) != token
    assert kind(fresh).make_again(invitation_id, invitation_tokens.hash_of(token)) == token
    assert kind(gone).make_again(invitation_id, invitation_tokens.hash_of(token)) is None


@pytest.mark.parametrize("missing", ["USER_URL", "AUTH_URL"])
def test_a_service_away_leaves_the_invitation_to_whoever_accepted(
    organizations, users, hospital, invite, newcomer, monkeypatch, missing
):
    token = invite().json["data"]["token"]
    with monkeypatch.context() as away:
        away.setitem(os.environ, missing, "http://127.0.0.1:9")  # discard: nobody listens
        assert accept(organizations, token, newcomer).status_code == 503
    assert accept(organizations, token, replace(newcomer, user_id=uuid4())).status_code == 409
    assert accept(organizations, token, newcomer).status_code == 200
    assert memberships(users, hospital, newcomer) == ["clinician"]


def test_an_invitation_gives_nobody_back_a_role_that_was_taken_away(
    organizations, users, auth, hospital, admin, invite, newcomer
):
    token = invite(role="clinician").json["data"]["token"]
    assert accept(organizations, token, newcomer).status_code == 200
    path = f"/auth/users/{newcomer.user_id}/roles/clinician"
    assert auth.call("DELETE", path, admin).status_code == 204
    again = accept(organizations, token, newcomer)
    assert (again.status_code, again.json["data"]["role"]) == (200, "clinician")
    assert "clinician" not in auth.call("GET", f"/auth/users/{newcomer.user_id}", admin).json["data"]["roles"]


def test_of_many_who_accept_at_once_one_comes_in(organizations, users, hospital, invite, arrive):
    token = invite().json["data"]["token"]
    people = [arrive() for _ in range(8)]
    statuses = {}

    def run(person):
        client = organizations.app.test_client()
        headers = {"Authorization": f"Bearer {organizations.token(person)}"}
        statuses[person.user_id] = client.post(f"/invitations/{token}/accept", headers=headers).status_code

    threads = [threading.Thread(target=run, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses.values()) == [200] + [409] * 7
    assert sum(len(memberships(users, hospital, person)) for person in people) == 1


def test_a_revoked_invitation_is_over(organizations, users, admin, invite, newcomer):
    made = invite()
    assert organizations.call("DELETE", made.headers["Location"], admin).status_code == 204
    assert organizations.call("GET", made.headers["Location"], admin).json["data"]["state"] == "revoked"
    assert accept(organizations, made.json["data"]["token"], newcomer).json["error"]["id"] == "HG-ORG-003"
    assert organizations.audited(admin.org_id)[-1] == "organization.invitation_revoked"


def test_an_accepted_invitation_cannot_be_revoked(organizations, users, admin, invite, newcomer):
    made = invite()
    accept(organizations, made.json["data"]["token"], newcomer)
    assert organizations.call("DELETE", made.headers["Location"], admin).status_code == 409


def test_an_expired_invitation_is_over(organizations, users, admin, invite, newcomer):
    made = invite(valid_days=1)
    with organizations.database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        age = text("UPDATE org_invitations SET expires_at = now() - interval '1 second' WHERE id = :id")
        session.execute(age, {"id": made.json["data"]["id"]})
    assert organizations.call("GET", made.headers["Location"], admin).json["data"]["state"] == "expired"
    assert accept(organizations, made.json["data"]["token"], newcomer).status_code == 409


def test_the_invitation_of_a_removed_organisation_is_gone(organizations, users, hospital, invite, newcomer):
    token = invite().json["data"]["token"]
    superadmin = Person(org_id=None, roles=("superadmin",))
    organizations.call("DELETE", f"/organizations/{hospital['id']}", superadmin)
    assert accept(organizations, token, newcomer).status_code == 404


def test_a_guessed_token_finds_nothing(organizations, newcomer):
    assert accept(organizations, "x" * 43, newcomer).status_code == 404
    assert accept(organizations, "x" * 43, None).status_code == 401
    assert accept(organizations, "x" * 43, organizations.service_token("alert")).status_code == 403


def test_an_organisations_own_role_amounts_to_its_base(organizations, users, hospital, admin, invite, newcomer):
    organizations.call("POST", f"/organizations/{hospital['id']}/roles", admin, json=SUPERVISOR)
    assert invite(role="nobody").json["error"]["details"][0]["field"] == "role"
    made = invite(role="supervision")
    assert made.json["data"]["role"] == "supervision"
    accept(organizations, made.json["data"]["token"], newcomer)
    assert memberships(users, hospital, newcomer) == ["clinician"]


def test_nobody_invites_above_their_own_role(organizations, hospital, admin, invite):
    helper = replace(admin, roles=("secretary",))
    assert invite(role="org_admin", person=helper).json["error"]["id"] == "HG-ORG-005"
    assert invite(role="superadmin").status_code == 400
    boss = SUPERVISOR | {"base_role": "org_admin"}
    assert organizations.call("POST", f"/organizations/{hospital['id']}/roles", helper, json=boss).status_code == 403
    assert invite(role="org_admin").status_code == 201


@pytest.mark.parametrize("part", ["roles", "invitations"])
def test_another_organisation_sees_and_changes_nothing(organizations, hospital, admin, stranger, invite, part):
    made = invite()
    if part == "roles":
        made = organizations.call("POST", f"/organizations/{hospital['id']}/roles", admin, json=SUPERVISOR)
    path = made.headers["Location"]
    body = {"roles": SUPERVISOR, "invitations": {"email": "a@b.es", "role": "clinician"}}[part]
    absent = f"/organizations/{uuid4()}/{part}/{uuid4()}"
    for method, suffix, json in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "list", None),
        ("POST", "list", body),
    ):
        target, nothing = (each.rsplit("/", 1)[0] if suffix else each for each in (path, absent))
        foreign = organizations.call(method, target, stranger, json=json)
        missing = organizations.call(method, nothing, stranger, json=json)
        assert foreign.status_code == missing.status_code == 404
        assert foreign.json["error"]["id"] == missing.json["error"]["id"]
    assert organizations.call("GET", path, admin).status_code == 200
    assert UUID(hospital["id"]) == admin.org_id


def test_only_services_say_who_joined(users, admin):
    body = {"user_id": str(uuid4()), "role": "org_admin"}
    assert users.call("POST", "/internal/memberships", admin, json=body).status_code == 401
