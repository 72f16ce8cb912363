"""Devices, types, assignments and health through the service."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from device_service import models
from tests.device_service.support import NOW, assign, at, register


def test_register_answers_201_with_location_and_audits(devices, clinician):
    answer = devices.call("POST", "/devices", clinician, json={"serial": f"A-{uuid4()}", "type": "PULSE_OX"})
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/devices/{answer.json['data']['id']}"
    assert answer.json["data"]["active"] is True
    assert answer.json["data"]["brand"] is None
    assert devices.audited(clinician.org_id) == ["device.registered"]


def test_a_serial_is_unique_and_a_type_must_exist(devices, clinician, stranger, device):
    again = {"serial": device["serial"], "type": "WEARABLE"}
    for person in (clinician, stranger):
        assert devices.call("POST", "/devices", person, json=again).status_code == 409
    answer = devices.call("POST", "/devices", clinician, json={"serial": str(uuid4()), "type": "TOASTER"})
    assert (answer.status_code, answer.json["error"]["id"]) == (400, "HG-DEV-008")


def test_change_list_and_remove(devices, clinician, device):
    path = f"/devices/{device['id']}"
    changed = devices.call("PATCH", path, clinician, json={"active": False, "type": "WEARABLE"})
    assert (changed.json["data"]["active"], changed.json["data"]["type"]) == (False, "WEARABLE")
    other = register(devices, clinician, "THERMOMETER")
    for query, expected in (
        ("active=true", [other]),
        ("type=WEARABLE", [device]),
        (f"serial={other['serial']}", [other]),
        ("limit=9", [other, device]),
    ):
        found = devices.call("GET", f"/devices?{query}", clinician).json["data"]
        assert [row["id"] for row in found] == [row["id"] for row in expected]
    assert devices.call("DELETE", path, clinician).status_code == 204
    assert devices.call("GET", path, clinician).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_another_organisation_sees_nothing(devices, stranger, device, method):
    body = {"brand": "X"} if method == "PATCH" else None
    foreign = devices.call(method, f"/devices/{device['id']}", stranger, json=body)
    assert (foreign.status_code, foreign.json["error"]["id"]) == (404, "HG-NF-001")
    assert devices.call("GET", "/devices", stranger).json["data"] == []


def test_caregivers_see_no_devices(devices, clinician, device):
    caregiver = replace(clinician, roles=("caregiver",))
    assert devices.call("GET", f"/devices/{device['id']}", caregiver).status_code == 404
    assert devices.call("GET", "/devices", caregiver).json["data"] == []


class TestTypes:
    def test_the_shared_ones_are_there_for_everybody_and_fixed(self, devices, clinician):
        found = devices.call("GET", "/device-types", clinician).json["data"]
        assert {row["code"] for row in found} == {"ECG_1LEAD", "PULSE_OX", "BP_CUFF", "THERMOMETER", "WEARABLE"}
        path = f"/device-types/{found[0]['id']}"
        body = {"code": "X", "name": "X", "signal_types": ["HR"]}
        for method, sent in (("PUT", body), ("DELETE", None)):
            answer = devices.call(method, path, clinician, json=sent)
            assert (answer.status_code, answer.json["error"]["id"]) == (403, "HG-DEV-007")

    def test_an_organisation_has_its_own(self, devices, clinician, stranger):
        body = {"code": "PATCH_12", "name": "Parche de 12 derivaciones", "signal_types": ["ECG"]}
        made = devices.call("POST", "/device-types", clinician, json=body)
        assert made.status_code == 201
        path = f"/device-types/{made.json['data']['id']}"
        assert devices.call("POST", "/device-types", clinician, json=body).status_code == 409
        assert devices.call("POST", "/device-types", stranger, json=body).status_code == 201
        assert devices.call("GET", path, stranger).status_code == 404
        assert devices.call("POST", "/device-types", clinician, json=body | {"code": "BP_CUFF"}).status_code == 409
        changed = devices.call("PUT", path, clinician, json=body | {"signal_types": ["ECG", "HR"]})
        assert changed.json["data"]["signal_types"] == ["ECG", "HR"]
        device = register(devices, clinician, "PATCH_12")
        assert devices.call("DELETE", path, clinician).status_code == 409
        devices.call("DELETE", f"/devices/{device['id']}", clinician)
        assert devices.call("DELETE", path, clinician).status_code == 204

    def test_the_database_refuses_to_change_a_shared_one(self, devices, clinician):
        with devices.database.transaction(clinician.org_id, technical=True) as session:
            changed = session.query(models.DeviceType).filter_by(org_id=None).update({"name": "X"})
        assert changed == 0


class TestAssignments:
    def test_put_a_device_on_a_patient(self, devices, clinician, device, patients, patient_id):
        answer = assign(devices, clinician, device, patient_id)
        assert answer.status_code == 201
        assert answer.json["data"]["patient_id"] == patient_id
        assert answer.json["data"]["ends_at"] is None
        assert patients.asked == [("patient", f"/patients/{patient_id}", clinician.org_id)]
        assert devices.audited(clinician.org_id)[-1] == "device.assigned"
        listed = devices.call("GET", f"/devices/{device['id']}/assignments", clinician).json["data"]
        assert listed == [answer.json["data"]]

    def test_need_a_known_patient_and_an_active_device(self, devices, clinician, device, patients, patient_id):
        answer = assign(devices, clinician, device, str(uuid4()))
        assert (answer.status_code, answer.json["error"]["id"]) == (400, "HG-DEV-005")
        devices.call("PATCH", f"/devices/{device['id']}", clinician, json={"active": False})
        answer = assign(devices, clinician, device, patient_id)
        assert (answer.status_code, answer.json["error"]["id"]) == (409, "HG-DEV-001")

    @pytest.mark.parametrize(
        "starts, ends, status",
        [
            ({"hours": 10}, {"hours": 8}, 201),
            ({"hours": 5}, {"hours": 3}, 409),
            ({"hours": 10}, {"hours": 7, "minutes": 59}, 409),
            ({"hours": 4}, None, 201),
            ({"hours": 10}, None, 409),
            ({"hours": 7}, {"hours": 6}, 409),
            ({"hours": 3}, {"hours": 4}, 400),
        ],
    )
    def test_do_not_overlap(self, devices, clinician, device, patient_id, starts, ends, status):
        assert (
            assign(devices, clinician, device, patient_id, starts_at=at(hours=8), ends_at=at(hours=4)).status_code
            == 201
        )
        times = {"starts_at": at(**starts), "ends_at": at(**ends) if ends else None}
        assert assign(devices, clinician, device, patient_id, **times).status_code == status

    def test_the_database_refuses_an_overlap_too(self, devices, clinician, device, patient_id):
        assign(devices, clinician, device, patient_id)
        with (
            pytest.raises(Exception, match="ex_device_assignments_overlap"),
            devices.database.transaction(clinician.org_id, technical=True) as session,
        ):
            session.add(
                models.DeviceAssignment(
                    org_id=clinician.org_id, device_id=device["id"], patient_id=uuid4(), starts_at=NOW, ends_at=None
                )
            )

    def test_end_once_and_free_the_device(self, devices, clinician, device, patients, patient_id):
        made = assign(devices, clinician, device, patient_id, starts_at=at(hours=2)).json["data"]
        path = f"/devices/{device['id']}/assignments/{made['id']}/end"
        assert devices.call("POST", path, clinician, json={"ended_at": at(hours=3)}).status_code == 400
        ended = devices.call("POST", path, clinician, json={"ended_at": at(hours=1)})
        assert ended.json["data"]["ends_at"] == at(hours=1)
        later = devices.call("POST", path, clinician, json={})
        assert later.json["data"]["ends_at"] == at(hours=1)
        patients.known.add(other := str(uuid4()))
        assert assign(devices, clinician, device, other).status_code == 201

    def test_of_another_organisation_are_out_of_reach(self, devices, clinician, stranger, device, patient_id):
        made = assign(devices, clinician, device, patient_id).json["data"]
        path = f"/devices/{device['id']}/assignments"
        assert assign(devices, stranger, device, patient_id).status_code == 404
        assert devices.call("GET", path, stranger).status_code == 404
        assert devices.call("POST", f"{path}/{made['id']}/end", stranger, json={}).status_code == 404


class TestHealth:
    def test_is_reported_and_listed_newest_first(self, devices, clinician, device):
        path = f"/devices/{device['id']}/health"
        for battery in (80, 20):
            body = {"status": "degraded", "battery_percent": battery, "reported_at": at(minutes=1)}
            assert devices.call("POST", path, clinician, json=body).status_code == 201
        found = devices.call("GET", path, clinician).json["data"]
        assert [row["battery_percent"] for row in found] == [20, 80]
        assert devices.audited(clinician.org_id)[-1] == "device.health_reported"

    def test_is_checked(self, devices, clinician, device):
        body = {"status": "fine", "battery_percent": 101}
        answer = devices.call("POST", f"/devices/{device['id']}/health", clinician, json=body)
        assert {item["field"] for item in answer.json["error"]["details"]} == {"status", "battery_percent"}
