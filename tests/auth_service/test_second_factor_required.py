"""An organisation that lets nobody in without a second factor: enrol first, everything else afterwards."""

from __future__ import annotations

import importlib
import itertools
import time
from types import SimpleNamespace
from uuid import uuid4

import pyotp
import pytest

from common.tokens import AUDIENCE, TokenSigner
from tests.auth_service.conftest import mirror
from tests.support.services import event_like

VERSIONS = itertools.count(2)


def demand(auth, org_id, required=True, version=None):
    """The organization service says so."""
    facts = {"second_factor_required": required, "settings_version": version or next(VERSIONS)}
    event = event_like("organization.rules_changed", "organization.topic", **facts)
    assert auth.deliver(event, org_id) == [True]


@pytest.fixture
def clock(monkeypatch):
    """Half a minute passes with each code."""
    second_factor = importlib.import_module("auth_service.second_factor")
    moment = [time.time()]
    monkeypatch.setattr(second_factor, "time", SimpleNamespace(time=lambda: moment[0]))

    def code(secret):
        moment[0] += 30
        return pyotp.TOTP(secret).at(moment[0])

    return code


@pytest.fixture
def owing(auth, account, admin):
    """Somebody whose organisation waits for a second factor of theirs, with the token of a login."""
    demand(auth, admin.org_id)
    luz = account("clinician")
    data = luz.try_login().json["data"]
    assert (data["restriction"], data["refresh_token"], data["device_token"]) == ("enrolment", None, None)
    luz.access_token = data["access_token"]
    return luz


def test_a_login_without_one_lets_it_be_enrolled_and_then_counts_no_more_than_any(owing, clock):
    secret = owing.call("POST", "/auth/totp/enrol", {"password": owing.password}).json["data"]["secret"]
    assert owing.call("POST", "/auth/totp/confirm", {"code": clock(secret)}).status_code == 200
    owing.login(code=clock(secret))
    assert owing.claims.roles == {"clinician"}
    assert owing.call("GET", "/auth/sessions").status_code == 200
    assert owing.refresh().is_let_in


def test_a_token_for_the_enrolment_opens_no_other_door(owing, service):
    assert owing.call("GET", "/auth/me").json["data"]["permissions"] == []
    for method, path, body in (
        ("GET", "/auth/sessions", None),
        ("POST", "/auth/logout-all", None),
        ("POST", "/auth/password/change", {"current_password": owing.password, "password": "cuatro perros"}),
        ("POST", "/auth/switch-organization", {"organization_id": str(owing.org_id)}),
        ("GET", "/auth/catalogs/platforms", None),
        ("GET", f"/auth/users/{owing.id}", None),
    ):
        answer = owing.call(method, path, body)
        assert (answer.status_code, answer.json["error"]["id"]) == (403, "HG-AUTH-013"), path
    for name, path in (("user", "/preferences"), ("alert", "/alert-levels"), ("patient", "/patients")):
        answer = service(name).call("GET", path, owing.access_token)
        assert (answer.status_code, answer.json["error"]["id"]) == (403, "HG-AUTH-013"), path


def test_not_even_permissions_open_them(auth, admin):
    """A token is held to its scope, whatever else it says."""
    signer = TokenSigner(auth.service.settings, AUDIENCE)
    options = {"org_id": admin.org_id, "permissions": admin.permissions, "roles": admin.roles}
    token = signer.sign(str(admin.user_id), seconds=60, scope="enrolment", **options)
    assert auth.call("GET", "/auth/users", token).status_code == 403


def test_a_session_from_before_ends_with_its_access_token(auth, account, admin):
    luz = account("clinician").login()
    demand(auth, admin.org_id)
    assert luz.is_let_in
    assert luz.try_refresh().status_code == 401
    mirror(auth)
    assert not luz.is_let_in
    assert luz.try_login().json["data"]["restriction"] == "enrolment"


def test_a_closed_enrolment_is_closed(owing):
    assert owing.call("POST", "/auth/logout").status_code == 204
    assert not owing.is_let_in


def test_one_who_has_it_cannot_go_without(auth, owing, admin, clock):
    secret = owing.call("POST", "/auth/totp/enrol", {"password": owing.password}).json["data"]["secret"]
    owing.call("POST", "/auth/totp/confirm", {"code": clock(secret)})
    owing.login(code=clock(secret))
    body = {"password": owing.password, "code": clock(secret)}
    assert owing.call("POST", "/auth/totp/disable", body).json["error"]["id"] == "HG-AUTH-013"
    demand(auth, admin.org_id, required=False)
    assert owing.call("POST", "/auth/totp/disable", body).status_code == 204  # the code was not spent
    assert owing.login().claims.roles == {"clinician"}


def test_a_guest_enrols_at_home_first(auth, account, admin):
    luz = account("clinician").login()
    elsewhere = uuid4()
    token = auth.service_token("organization", elsewhere)
    auth.call("PUT", f"/internal/users/{luz.id}/organization", token, json={"role": "caregiver"})
    demand(auth, elsewhere)
    luz.refresh()
    answer = luz.call("POST", "/auth/switch-organization", {"organization_id": str(elsewhere)})
    assert (answer.status_code, answer.json["error"]["id"]) == (403, "HG-AUTH-013")
    assert luz.is_let_in


def test_an_older_message_does_not_undo_a_newer(auth, account, admin):
    demand(auth, admin.org_id, required=False, version=7)
    demand(auth, admin.org_id, required=True, version=6)
    assert account("clinician").login().is_let_in


def test_other_organisations_are_not_asked(auth, owing, registered):
    assert registered.login().is_let_in
