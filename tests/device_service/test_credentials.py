"""What a device proves itself with, with the auth service that keeps it."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest

from tests.device_service.support import register
from tests.support.listening import listening


@pytest.fixture(scope="module")
def auth(service):
    """The auth service, listening where the device service looks for it."""
    with listening(service("auth")) as running:
        yield running


def pair(auth, code):
    return auth.call("POST", "/auth/devices/pair", json={"code": code})


def test_a_device_is_paired_and_revoked(devices, auth, clinician, device):
    path = f"/devices/{device['id']}"
    issued = devices.call("POST", f"{path}/pairing-code", clinician)
    assert issued.status_code == 200, issued.text
    paired = pair(auth, issued.json["data"]["code"]).json["data"]
    assert paired["device_id"] == device["id"]
    refresh = {"refresh_token": paired["refresh_token"]}
    assert devices.call("DELETE", f"{path}/credentials", clinician).status_code == 204
    assert auth.call("POST", "/auth/refresh", json=refresh).status_code == 401
    assert devices.audited(clinician.org_id)[-2:] == ["device.pairing_requested", "device.credentials_revoked"]


def test_the_code_is_in_no_trail(devices, auth, clinician, device):
    code = devices.call("POST", f"/devices/{device['id']}/pairing-code", clinician).json["data"]["code"]
    assert code not in str(devices.outbox()) + str(auth.outbox())


def test_another_organisations_device_is_as_absent(devices, auth, stranger, device):
    for method, part in (("POST", "pairing-code"), ("DELETE", "credentials")):
        foreign = devices.call(method, f"/devices/{device['id']}/{part}", stranger)
        absent = devices.call(method, f"/devices/{uuid4()}/{part}", stranger)
        assert foreign.status_code == absent.status_code == 404
        assert foreign.json["error"]["id"] == absent.json["error"]["id"]


def test_an_inactive_device_gets_no_code(devices, auth, clinician):
    idle = register(devices, clinician, active=False)
    answer = devices.call("POST", f"/devices/{idle['id']}/pairing-code", clinician)
    assert (answer.status_code, answer.json["error"]["id"]) == (409, "HG-DEV-001")


def test_auth_away_is_said_as_503(devices, clinician, device, monkeypatch):
    monkeypatch.setitem(os.environ, "AUTH_URL", "http://127.0.0.1:9")  # discard: nobody listens
    assert devices.call("POST", f"/devices/{device['id']}/pairing-code", clinician).status_code == 503


def test_who_takes_a_device_out_of_service_says_so_once(devices, clinician, device):
    path = f"/devices/{device['id']}"
    for active in (False, False, True):
        assert devices.call("PATCH", path, clinician, json={"active": active}).status_code == 200
    withdrawn = [event["data"] for event in devices.outbox("device.withdrawn", clinician.org_id)]
    assert withdrawn == [{"device_id": device["id"]}]
    assert devices.call("DELETE", path, clinician).status_code == 204
    assert len(devices.outbox("device.withdrawn", clinician.org_id)) == 2
