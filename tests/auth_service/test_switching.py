"""People of several organisations: one at a time, with what they are there, for as long as they are."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest


@pytest.fixture
def elsewhere(admin):
    """Another organisation."""
    return replace(admin, org_id=uuid4(), user_id=uuid4())


@pytest.fixture
def guest(auth, account, elsewhere):
    """A clinician of one organisation who is a caregiver in another."""
    luz = account("clinician")
    assert join(auth, luz, elsewhere.org_id, "caregiver").status_code == 200
    return luz.login(platform="ios", client_id="app 1.0", device_fingerprint="installation-1")


def join(auth, user, org_id, role):
    token = auth.service_token("organization", org_id)
    return auth.call("PUT", f"/internal/users/{user.id}/organization", token, json={"role": role})


def leave(auth, user, org_id, role):
    token = auth.service_token("user", org_id)
    return auth.call("DELETE", f"/internal/users/{user.id}/organization/roles/{role}", token).status_code


def switch(user, org_id):
    return user.call("POST", "/auth/switch-organization", {"organization_id": str(org_id)})


def test_a_guest_stays_at_home_until_they_switch(auth, guest, admin, elsewhere):
    assert (guest.claims.org_id, guest.claims.roles) == (admin.org_id, {"clinician"})
    before = guest.access_token, guest.refresh_token
    answer = switch(guest, elsewhere.org_id)
    assert answer.json["data"]["org_id"] == str(elsewhere.org_id)
    guest._keep(answer)
    assert (guest.claims.org_id, guest.claims.roles) == (elsewhere.org_id, {"caregiver"})
    assert "alert:ack" in guest.claims.permissions and "patient:write" not in guest.claims.permissions
    assert guest.is_let_in
    assert auth.call("GET", "/auth/me", before[0]).status_code == 401
    assert guest.try_refresh(before[1]).status_code == 401
    assert auth.audited(admin.org_id)[-1] == "session.closed"
    assert auth.audited(elsewhere.org_id) == ["user.joined", "session.opened"]


def test_a_lost_answer_comes_again_for_the_token_that_the_switch_revoked(auth, guest, elsewhere):
    def attempt(key, **body):
        asked = {"organization_id": str(elsewhere.org_id)} | body
        headers = {"Idempotency-Key": key} if key else {}
        return guest.call("POST", "/auth/switch-organization", asked, headers=headers)

    key = str(uuid4())
    first = attempt(key)
    assert not guest.is_let_in, "the old token is revoked"
    again = attempt(key)
    assert (again.status_code, again.json) == (200, first.json)
    assert (again.headers["Cache-Control"], again.headers["Idempotency-Replayed"]) == ("no-store", "true")
    assert attempt(key, organization_id=str(uuid4())).status_code == 409
    assert [attempt(other).status_code for other in (None, str(uuid4()))] == [401, 401], "it opens nothing else"
    assert auth.audited(elsewhere.org_id) == ["user.joined", "session.opened"]
    assert guest._keep(again).is_let_in


def test_the_new_session_is_of_the_same_client_and_renews_itself_there(guest, elsewhere):
    guest._keep(switch(guest, elsewhere.org_id))
    guest.refresh()
    assert (guest.claims.org_id, guest.claims.roles) == (elsewhere.org_id, {"caregiver"})
    (listed,) = guest.call("GET", "/auth/sessions").json["data"]
    assert (listed["platform"], listed["org_id"]) == ("ios", str(elsewhere.org_id))


def test_me_tells_what_one_is_here(guest, admin, elsewhere):
    guest._keep(switch(guest, elsewhere.org_id))
    here = guest.call("GET", "/auth/me").json["data"]
    assert (here["org_id"], here["roles"]) == (str(elsewhere.org_id), ["caregiver"])
    guest._keep(switch(guest, admin.org_id))
    home = guest.call("GET", "/auth/me").json["data"]
    assert (home["org_id"], home["roles"]) == (str(admin.org_id), ["clinician"])
    assert "patient:write" in home["permissions"]


def test_an_organisation_that_is_not_ones_own_is_as_absent(auth, guest, account, elsewhere):
    stranger = account("org_admin").login()
    before = stranger.refresh_token
    foreign, absent = switch(stranger, elsewhere.org_id), switch(stranger, uuid4())
    assert (foreign.status_code, absent.status_code) == (404, 404)
    assert foreign.json["error"]["id"] == absent.json["error"]["id"] == "HG-NF-001"
    assert stranger.is_let_in and stranger.try_refresh(before).status_code == 200  # nothing was closed


def test_who_loses_the_last_role_is_out_and_cannot_come_back(auth, guest, admin, elsewhere):
    join(auth, guest, elsewhere.org_id, "org_viewer")
    guest._keep(switch(guest, elsewhere.org_id))
    assert guest.claims.roles == {"caregiver", "org_viewer"}
    assert leave(auth, guest, elsewhere.org_id, "caregiver") == 204
    assert not guest.is_let_in  # the claims count no more, the session does
    assert guest.refresh().claims.roles == {"org_viewer"}
    assert leave(auth, guest, elsewhere.org_id, "org_viewer") == 204
    assert not guest.is_let_in
    assert guest.try_refresh().status_code == 401
    guest.login()
    assert guest.claims.org_id == admin.org_id
    assert switch(guest, elsewhere.org_id).status_code == 404
    assert leave(auth, guest, elsewhere.org_id, "org_viewer") == 404
    assert auth.audited(elsewhere.org_id)[-1] == "user.left"


def test_one_loses_a_role_at_home_too(auth, account, admin):
    luz = account("clinician", "caregiver").login()
    assert leave(auth, luz, uuid4(), "caregiver") == 404
    assert leave(auth, luz, admin.org_id, "caregiver") == 204
    assert not luz.is_let_in
    assert luz.refresh().claims.roles == {"clinician"}


def test_a_closed_session_does_not_switch(guest, elsewhere):
    guest.call("POST", "/auth/logout")  # before the revocation has gone round
    assert switch(guest, elsewhere.org_id).status_code == 401


def test_a_change_of_a_role_reaches_guests(auth, guest, superadmin, elsewhere):
    code = f"role_{uuid4().hex[:8]}"
    auth.call("POST", "/auth/roles", superadmin, json={"code": code, "name": "X", "permissions": ["patient:read"]})
    join(auth, guest, elsewhere.org_id, code)
    guest.refresh()._keep(switch(guest, elsewhere.org_id))
    auth.call("PUT", f"/auth/roles/{code}/permissions/audit:read", superadmin)
    assert not guest.is_let_in
    assert "audit:read" in guest.refresh().claims.permissions
    assert auth.call("DELETE", f"/auth/roles/{code}", superadmin).status_code == 409


def test_guests_are_reached_by_the_alarms_of_where_they_are_guests(auth, guest, elsewhere):
    body = {"user_ids": [str(guest.id)]}
    for org_id, found in ((elsewhere.org_id, 1), (uuid4(), 0)):
        answer = auth.call("POST", "/internal/contacts", auth.service_token("notification", org_id), json=body)
        assert len(answer.json["data"]["contacts"]) == found


def test_a_host_administers_no_account_of_a_guest(auth, guest, elsewhere):
    assert auth.call("GET", f"/auth/users/{guest.id}", elsewhere).status_code == 404
    assert auth.call("PATCH", f"/auth/users/{guest.id}", elsewhere, json={"email": "x@y.test"}).status_code == 404


def test_whoever_registered_as_a_patient_and_is_invited_as_one_belongs_there(auth, registered, admin):
    luz = registered.login()
    assert join(auth, luz, admin.org_id, "patient").status_code == 200
    assert not luz.is_let_in
    assert luz.refresh().claims.org_id == admin.org_id


def test_whoever_administers_all_stays_above_any(auth, account, superadmin, admin, elsewhere):
    chief = account("org_admin")
    auth.call("PUT", f"/auth/users/{chief.id}/roles/superadmin?org_id={admin.org_id}", superadmin)
    assert join(auth, chief, elsewhere.org_id, "superadmin").status_code == 404
