"""Push devices and deliveries through the API: whose they are, and what nobody else sees."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import msgspec
import pytest

from tests.support.services import event_like


@pytest.fixture
def notifications(service):
    return service("notification")


def device(**changes):
    return {"platform": "android", "token": uuid4().hex, "name": "Móvil de Ana"} | changes


def register(notifications, person, **changes):
    answer = notifications.call("POST", "/push-devices", person, json=device(**changes))
    assert answer.status_code == 201, answer.text
    return answer.json["data"]


def test_a_device_is_registered_and_its_token_never_shown(notifications, clinician):
    made = register(notifications, clinician, token="s3creto-token")
    assert made["user_id"] == str(clinician.user_id)
    path = f"/push-devices/{made['id']}"
    for answer in (notifications.call("GET", path, clinician), notifications.call("GET", "/push-devices", clinician)):
        assert answer.status_code == 200
        assert "s3creto" not in answer.text
    assert "s3creto" not in str(notifications.outbox(org_id=clinician.org_id))


def test_the_same_token_is_the_same_device_perhaps_in_other_hands(notifications, clinician):
    first = register(notifications, clinician, token="one-phone")
    other = replace(clinician, user_id=uuid4())
    second = register(notifications, other, token="one-phone", name=None)
    assert (second["id"], second["user_id"]) == (first["id"], str(other.user_id))
    assert notifications.call("GET", "/push-devices", clinician).json["data"] == []


def test_a_device_is_replaced_and_removed(notifications, clinician):
    path = f"/push-devices/{register(notifications, clinician)['id']}"
    answer = notifications.call("PUT", path, clinician, json=device(platform="ios"))
    assert answer.json["data"]["platform"] == "ios"
    assert notifications.call("DELETE", path, clinician).status_code == 204
    assert notifications.call("GET", path, clinician).status_code == 404


def test_a_colleague_and_a_stranger_see_no_device(notifications, clinician, stranger):
    path = f"/push-devices/{register(notifications, clinician)['id']}"
    for other in (replace(clinician, user_id=uuid4()), stranger):
        assert notifications.call("GET", path, other).status_code == 404
        assert notifications.call("DELETE", path, other).status_code == 404
        assert notifications.call("PUT", path, other, json=device()).status_code == 404


def test_a_service_has_no_device(notifications, clinician):
    robot = notifications.service_token("alert", clinician.org_id, ("notification:write",))
    assert notifications.call("POST", "/push-devices", robot, json=device()).status_code == 403


def test_deliveries_are_filtered_read_and_kept_from_strangers(desk, stranger):
    request = desk.notify(desk.patient("es"))
    desk.notify(desk.patient(), "LOG")
    desk.work()
    (mail,) = desk.deliveries("&channel=EMAIL")
    assert [item["channel"] for item in desk.deliveries()] == ["EMAIL", "LOG"]
    assert desk.deliveries(f"&alert={request.alert_id}") == [mail]
    assert desk.deliveries("&status=FAILED") == []
    path = f"/notifications/{mail['id']}"
    assert desk.service.call("GET", path, desk.person).json["data"] == mail
    assert desk.service.call("GET", "/notifications", stranger).json["data"] == []
    for method, suffix in (("GET", ""), ("GET", "/events"), ("POST", "/retry")):
        assert desk.service.call(method, path + suffix, stranger).status_code == 404


def test_a_caregiver_sees_what_went_to_them_only(desk):
    desk.notify(desk.patient("es", "es"))
    desk.work()
    first, _ = desk.deliveries()
    caregiver = replace(desk.person, user_id=UUID(first["recipient"]), roles=("caregiver",))
    seen = desk.service.call("GET", "/notifications", caregiver).json["data"]
    assert [item["id"] for item in seen] == [first["id"]]


@pytest.mark.parametrize("changes", [{"level": "dire"}, {"channel": "PIGEON"}, {"alert_type": "a\nBcc: x@y.z"}])
def test_a_request_that_breaks_its_promise_is_not_stored(desk, changes):
    values = {"notification_id": uuid4(), "alert_id": uuid4(), "patient_id": uuid4(), "level": "high"}
    values |= {"alert_type": "ARRHYTHMIA", "channel": "EMAIL", "observed_at": "2026-03-01T12:00:00Z"}
    event = event_like("alert.notify", "notification.topic", **(values | changes))
    with pytest.raises(msgspec.ValidationError):
        desk.service.deliver(event, desk.person.org_id)


def test_staff_see_the_deliveries_about_those_whom_they_may_see(desk, cared_for):
    patient_id = desk.patient("es")
    desk.notify(patient_id)
    desk.resolve()
    (delivery,) = desk.deliveries()
    doctor = replace(desk.person, user_id=uuid4(), roles=("clinician",))
    path = f"/notifications/{delivery['id']}"
    assert desk.service.call("GET", "/notifications", doctor).json["data"] == []
    assert desk.service.call("GET", path, doctor).status_code == 404
    assert desk.service.call("POST", f"{path}/retry", doctor).status_code == 404
    cared_for(doctor, patient_id)
    assert [row["id"] for row in desk.service.call("GET", "/notifications", doctor).json["data"]] == [delivery["id"]]
    assert desk.service.call("GET", path, doctor).status_code == 200
    assert desk.service.call("GET", path, replace(doctor, roles=("caregiver",))).status_code == 404
