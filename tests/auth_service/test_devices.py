"""Devices: paired with a code that serves once, renewed like a user's session, and out when somebody says so."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from uuid import uuid4

import pytest
from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS
from common.tokens import AUDIENCE, TokenVerifier
from tests.auth_service.conftest import mirror
from tests.support.services import event_like


@pytest.fixture
def sensor(auth, admin):
    """A device of the administrator's organisation, as the device service asks for it."""
    device_id, address = uuid4(), {"REMOTE_ADDR": f"2001:db8::{uuid4().hex[:4]}"}
    of_devices = auth.service_token("device", admin.org_id)

    def code():
        answer = auth.call("POST", "/internal/device-pairings", of_devices, json={"device_id": str(device_id)})
        return answer.json["data"]["code"]

    def pair(code):
        return auth.call("POST", "/auth/devices/pair", json={"code": code}, environ_base=address)

    return SimpleNamespace(id=device_id, code=code, pair=pair, of_devices=of_devices, address=address)


def claims_of(auth, token):
    return TokenVerifier(auth.service.settings).verify(token, AUDIENCE)


def spoilt(code):
    """The same selector before another secret."""
    return code[:5] + ("aaaa-aaaa" if code[5:] != "aaaa-aaaa" else "bbbb-bbbb")


def test_a_device_gets_a_token_that_writes_samples_and_nothing_else(auth, sensor, admin):
    code = sensor.code()
    assert re.fullmatch(r"[a-z2-9]{4}-[a-z2-9]{4}-[a-z2-9]{4}", code)
    answer = sensor.pair(code.upper())
    assert answer.status_code == 200, answer.text
    data = answer.json["data"]
    assert (data["device_id"], data["org_id"]) == (str(sensor.id), str(admin.org_id))
    claims = claims_of(auth, data["access_token"])
    assert (claims.subject, claims.org_id) == (f"device:{sensor.id}", admin.org_id)
    assert (claims.roles, claims.permissions) == ({"device"}, {"timeseries:write"})
    assert auth.audited(admin.org_id) == ["device.pairing_code_issued", "session.opened"]


def test_a_device_is_nobody(auth, sensor, account):
    """What is AUTHENTICATED is for users; what a device has is not in anybody's list."""
    luz = account("clinician").login()
    token = sensor.pair(sensor.code()).json["data"]["access_token"]
    for method, path in (
        ("GET", "/auth/me"),
        ("GET", "/auth/sessions"),
        ("DELETE", f"/auth/sessions/{luz.claims.session_id}"),
        ("POST", "/auth/logout-all"),
    ):
        assert auth.call(method, path, token).status_code == 401, path
    switch = {"organization_id": str(luz.org_id)}
    assert auth.call("POST", "/auth/switch-organization", token, json=switch).status_code == 401
    assert auth.call("GET", "/auth/users", token).status_code == 403
    assert len(luz.call("GET", "/auth/sessions").json["data"]) == 1
    assert luz.is_let_in


def test_no_person_gets_the_role_of_devices(auth, admin, superadmin, account):
    luz = account("clinician")
    body = {"name": "Luz", "email": f"{uuid4().hex}@clinic.test", "password": "tres gatos en el tejado"}
    for who in (admin, superadmin):
        path = f"org_id={admin.org_id}"
        asked = [
            auth.call("POST", f"/auth/users?{path}", who, json=body | {"roles": ["clinician", "device"]}),
            auth.call("PUT", f"/auth/users/{luz.id}/roles/device?{path}", who),
        ]
        assert [(item.status_code, item.json["error"]["id"]) for item in asked] == [(409, "HG-AUTH-014")] * 2
    of_users = auth.service_token("user", admin.org_id)
    joined = auth.call("PUT", f"/internal/users/{luz.id}/organization", of_users, json={"role": "device"})
    assert joined.status_code == 404
    assert luz.login().claims.roles == {"clinician"}


def test_what_is_put_into_the_role_later_does_not_reach_devices(auth, sensor, superadmin):
    path = "/auth/roles/device/permissions/patient:read"
    try:
        assert auth.call("PUT", path, superadmin).status_code == 200
        token = sensor.pair(sensor.code()).json["data"]["access_token"]
        assert claims_of(auth, token).permissions == {"timeseries:write"}
    finally:
        auth.call("DELETE", path, superadmin)


def test_a_code_serves_once_even_for_many_at_once(auth, sensor):
    code = sensor.code()
    with ThreadPoolExecutor(8) as pool:
        answers = [item.status_code for item in pool.map(lambda _: sensor.pair(code), range(8))]
    assert sorted(answers) == [200] + [401] * 7
    assert sensor.pair(code).json["error"]["id"] == "HG-AUTH-012"


def test_a_newer_code_takes_the_place_of_the_older(sensor):
    older, newer = sensor.code(), sensor.code()
    assert sensor.pair(older).status_code == 401
    assert sensor.pair(newer).status_code == 200


def test_an_expired_code_opens_nothing(auth, sensor):
    code = sensor.code()
    with auth.database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        statement = text("UPDATE device_pairings SET expires_at = now() WHERE device_id = :id")
        session.execute(statement, {"id": sensor.id})
    assert sensor.pair(code).status_code == 401


def test_five_wrong_tries_spend_the_code_wherever_they_come_from(auth, sensor, admin):
    code = sensor.code()
    for number in range(5):
        there = {"REMOTE_ADDR": f"2001:db8:1::{number}"}
        answer = auth.call("POST", "/auth/devices/pair", json={"code": spoilt(code)}, environ_base=there)
        assert answer.status_code == 401
    assert sensor.pair(code).status_code == 401
    assert auth.audited(admin.org_id).count("device.pairing_failed") == 5
    assert sensor.pair(sensor.code()).status_code == 200


def test_whoever_guesses_codes_is_locked_out_and_nobody_else(auth, sensor):
    answers = [sensor.pair(f"{uuid4().hex[:4]}-aaaa-aaaa").status_code for _ in range(11)]
    assert answers == [401] * 10 + [423]
    code = sensor.code()
    assert sensor.pair(code).status_code == 423
    elsewhere = {"REMOTE_ADDR": "2001:db8:2::1"}
    assert auth.call("POST", "/auth/devices/pair", json={"code": code}, environ_base=elsewhere).status_code == 200


def test_a_device_renews_itself_and_reuse_closes_its_session(auth, sensor):
    first = sensor.pair(sensor.code()).json["data"]["refresh_token"]
    answer = auth.call("POST", "/auth/refresh", json={"refresh_token": first})
    data = answer.json["data"]
    assert data["user"] is None
    assert claims_of(auth, data["access_token"]).permissions == {"timeseries:write"}
    with auth.database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.execute(text("UPDATE refresh_tokens SET used_at = used_at - interval '11 seconds'"))
    stolen = auth.call("POST", "/auth/refresh", json={"refresh_token": first})
    assert stolen.json["error"]["id"] == "HG-AUTH-004"
    assert auth.call("POST", "/auth/refresh", json={"refresh_token": data["refresh_token"]}).status_code == 401


def revoked_by_endpoint(auth, sensor, admin):
    path = f"/internal/devices/{sensor.id}/credentials"
    assert auth.call("DELETE", path, auth.service_token("device", uuid4())).status_code == 204  # not theirs
    assert not is_revoked(auth, sensor)
    assert auth.call("DELETE", path, sensor.of_devices).status_code == 204


def withdrawn_by_event(auth, sensor, admin):
    event = event_like("device.withdrawn", "device.topic", device_id=sensor.id)
    assert auth.deliver(event, uuid4()) == [True]  # not theirs
    assert not is_revoked(auth, sensor)
    assert auth.deliver(event_like("device.withdrawn", "device.topic", device_id=sensor.id), admin.org_id) == [True]


def paired_again(auth, sensor, admin):
    assert sensor.pair(sensor.code()).status_code == 200


def is_revoked(auth, sensor):
    mirror(auth)
    return auth.service.revocations.is_revoked(claims_of(auth, sensor.access_token))


@pytest.mark.parametrize("end", [revoked_by_endpoint, withdrawn_by_event, paired_again])
def test_a_device_is_out_when_somebody_says_so(auth, sensor, admin, end):
    tokens = sensor.pair(sensor.code()).json["data"]
    sensor.access_token = tokens["access_token"]
    end(auth, sensor, admin)
    assert is_revoked(auth, sensor)
    assert auth.call("GET", "/auth/catalogs/platforms", sensor.access_token).status_code == 401
    assert auth.call("POST", "/auth/refresh", json={"refresh_token": tokens["refresh_token"]}).status_code == 401


def test_revoking_spends_the_code_too(auth, sensor):
    code = sensor.code()
    auth.call("DELETE", f"/internal/devices/{sensor.id}/credentials", sensor.of_devices)
    assert sensor.pair(code).status_code == 401


def test_a_device_logs_itself_out(auth, sensor):
    sensor.access_token = sensor.pair(sensor.code()).json["data"]["access_token"]
    assert auth.call("POST", "/auth/logout", sensor.access_token).status_code == 204
    assert is_revoked(auth, sensor)


def test_codes_and_device_sessions_are_hidden_from_other_organisations(auth, sensor, admin):
    sensor.pair(sensor.code())
    code = sensor.code().replace("-", "")
    tables = ("device_pairings", "sessions", "refresh_tokens")
    count = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    for org_id, found in ((admin.org_id, (1, 1, 1)), (uuid4(), (0, 0, 0))):
        with auth.database.transaction(org_id) as session:
            assert tuple(session.execute(text(count)).one()) == found
    with auth.database.transaction(ALL_ORGANIZATIONS) as session:
        stored = session.execute(text("SELECT device_pairings::text FROM device_pairings")).scalars().all()
    assert code[4:] not in str(stored)
