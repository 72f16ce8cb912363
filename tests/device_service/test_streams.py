"""Streams and bindings through the service, and what it publishes."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from tests.device_service.support import assign, at

ECG = {"signal_type": "ECG", "sample_rate_hz": 360, "channel": "MLII"}


@pytest.fixture
def stream(devices, clinician, assigned):
    answer = devices.call("POST", f"/devices/{assigned['id']}/streams", clinician, json=ECG)
    assert answer.status_code == 201, answer.text
    return answer.json["data"]


def bind(devices, person, stream, **body):
    return devices.call("POST", f"/streams/{stream['id']}/bindings", person, json=body)


class TestStreams:
    def test_open_on_the_assigned_patient(self, devices, clinician, assigned, stream, patient_id):
        assert stream.items() >= {"patient_id": patient_id, "unit": "mV", "sample_rate_hz": 360.0}.items()
        assert stream["ended_at"] is None
        assert devices.call("GET", f"/streams/{stream['id']}", clinician).json["data"] == stream
        assert devices.audited(clinician.org_id)[-2:] == ["signal_stream.opened", "signal_stream.read"]

    @pytest.mark.parametrize("role", ["clinician", "caregiver", "patient"])
    def test_are_shown_to_those_who_may_see_the_patient(self, devices, clinician, assigned, stream, cared_for, role):
        person = replace(clinician, roles=(role,), user_id=uuid4())
        path = f"/streams/{stream['id']}"
        cared_for(person, uuid4())
        assert devices.call("GET", "/streams", person).json["data"] == []
        for way in (path, f"{path}/bindings"):
            assert devices.call("GET", way, person).status_code == 404
        assert devices.call("POST", f"{path}/end", person, json={}).status_code == 404
        cared_for(person, stream["patient_id"])
        assert [row["id"] for row in devices.call("GET", "/streams", person).json["data"]] == [stream["id"]]
        assert devices.call("GET", path, person).status_code == 200

    def test_are_opened_by_those_who_may_see_the_patient(self, devices, clinician, assigned, cared_for, patient_id):
        person = replace(clinician, roles=("clinician",), user_id=uuid4())
        path = f"/devices/{assigned['id']}"
        cared_for(person, uuid4())
        assert devices.call("POST", f"{path}/streams", person, json=ECG).json["error"]["id"] == "HG-DEV-002"
        assert devices.call("GET", f"{path}/assignments", person).json["data"] == []
        cared_for(person, patient_id)
        assert devices.call("POST", f"{path}/streams", person, json=ECG).status_code == 201
        assert len(devices.call("GET", f"{path}/assignments", person).json["data"]) == 1

    def test_need_an_assignment_to_the_same_patient(self, devices, clinician, device, patient_id):
        path = f"/devices/{device['id']}/streams"
        assert devices.call("POST", path, clinician, json=ECG).json["error"]["id"] == "HG-DEV-002"
        assign(devices, clinician, device, patient_id, starts_at=at(hours=1))
        for wrong in ({"patient_id": str(uuid4())}, {"started_at": at(hours=2)}):
            assert devices.call("POST", path, clinician, json=ECG | wrong).json["error"]["id"] == "HG-DEV-002"
        right = ECG | {"patient_id": patient_id, "started_at": at(minutes=59)}
        assert devices.call("POST", path, clinician, json=right).status_code == 201

    def test_one_of_a_signal_and_channel_at_a_time(self, devices, clinician, assigned, stream):
        path = f"/devices/{assigned['id']}/streams"
        assert devices.call("POST", path, clinician, json=ECG).status_code == 409
        assert devices.call("POST", path, clinician, json=ECG | {"channel": "V1"}).status_code == 201
        devices.call("POST", f"/streams/{stream['id']}/end", clinician, json={})
        assert devices.call("POST", path, clinician, json=ECG).status_code == 201

    @pytest.mark.parametrize(
        "wrong, error",
        [
            ({"signal_type": "SpO2"}, "HG-DEV-006"),
            ({"signal_type": "EEG"}, "HG-VAL-001"),
            ({"sample_rate_hz": 0}, "HG-VAL-001"),
            ({"sample_rate_hz": 360.0001}, "HG-VAL-001"),
            ({"channel": "a\nb"}, "HG-VAL-001"),
        ],
    )
    def test_are_checked(self, devices, clinician, assigned, wrong, error):
        answer = devices.call("POST", f"/devices/{assigned['id']}/streams", clinician, json=ECG | wrong)
        assert (answer.status_code, answer.json["error"]["id"]) == (400, error)

    def test_end_once_and_say_so(self, devices, clinician, stream):
        path = f"/streams/{stream['id']}/end"
        before = devices.call("POST", path, clinician, json={"ended_at": at(hours=5)})
        assert before.json["error"]["id"] == "HG-DEV-009"
        assert devices.call("POST", path, clinician, json={}).status_code == 200
        assert devices.call("POST", path, clinician, json={}).json["error"]["id"] == "HG-DEV-003"
        (event,) = devices.outbox("signal_stream.ended", clinician.org_id)
        assert event["data"]["stream_id"] == event["subject"] == stream["id"]

    def test_end_with_the_assignment(self, devices, clinician, assigned, stream):
        (assignment,) = devices.call("GET", f"/devices/{assigned['id']}/assignments", clinician).json["data"]
        end = f"/devices/{assigned['id']}/assignments/{assignment['id']}/end"
        assert devices.call("POST", end, clinician, json={}).status_code == 200
        assert devices.call("GET", f"/streams/{stream['id']}", clinician).json["data"]["ended_at"] is not None
        assert len(devices.outbox("signal_stream.ended", clinician.org_id)) == 1

    def test_are_found_by_patient_and_state(self, devices, clinician, assigned, stream, patient_id):
        hr = {"signal_type": "HR", "sample_rate_hz": 1}
        other = devices.call("POST", f"/devices/{assigned['id']}/streams", clinician, json=hr).json["data"]
        devices.call("POST", f"/streams/{other['id']}/end", clinician, json={})
        for query, expected in (
            (f"patient_id={patient_id}", [other, stream]),
            ("open=true", [stream]),
            ("open=false", [other]),
            ("signal_type=ECG", [stream]),
            (f"patient_id={uuid4()}", []),
        ):
            for path in ("/streams", f"/devices/{assigned['id']}/streams"):
                found = devices.call("GET", f"{path}?{query}", clinician).json["data"]
                assert [row["id"] for row in found] == [row["id"] for row in expected]

    def test_keep_their_device_from_removal(self, devices, clinician, assigned, stream):
        assert devices.call("DELETE", f"/devices/{assigned['id']}", clinician).status_code == 409

    def test_of_another_organisation_are_out_of_reach(self, devices, stranger, assigned, stream):
        for method, path in (
            ("GET", f"/streams/{stream['id']}"),
            ("POST", f"/streams/{stream['id']}/end"),
            ("GET", f"/streams/{stream['id']}/bindings"),
            ("POST", f"/streams/{stream['id']}/bindings"),
            ("GET", f"/devices/{assigned['id']}/streams"),
        ):
            body = {} if method == "POST" else None
            assert devices.call(method, path, stranger, json=body).status_code == 404
        assert devices.call("GET", "/streams", stranger).json["data"] == []


class TestBindings:
    def test_tell_consumers_all_they_need(self, devices, clinician, stream):
        answer = bind(devices, clinician, stream, tags={"sala": "UCI ñ"})
        assert answer.status_code == 201
        identity = {
            "org_id": str(clinician.org_id),
            "patient_id": stream["patient_id"],
            "device_id": stream["device_id"],
            "stream_id": stream["id"],
            "signal_type": "ECG",
            "channel": "MLII",
        }
        (event,) = devices.outbox("signal_stream.bound", clinician.org_id)
        assert event["orgid"] == str(clinician.org_id)
        assert event["data"] == {
            "binding_id": answer.json["data"]["id"],
            **{key: stream[key] for key in ("device_id", "patient_id", "signal_type", "channel", "unit")},
            "stream_id": stream["id"],
            "sample_rate_hz": 360.0,
            "started_at": stream["started_at"],
            "bucket": "heartguard_signals",
            "measurement": "ecg",
            "tags": {**identity, "sala": "UCI ñ"},
        }
        told = {key: value for key, value in event["data"].items() if key != "binding_id"}
        assert answer.json["data"].items() >= told.items()
        assert devices.audited(clinician.org_id)[-1] == "signal_stream.bound"

    def test_the_time_series_service_may_ask_for_them(self, devices, clinician, stream):
        made = bind(devices, clinician, stream).json["data"]
        token = devices.service_token("influx", clinician.org_id, ("device:read",))
        before = len(devices.audited(clinician.org_id))
        assert devices.call("GET", f"/streams/{stream['id']}/bindings", token).json["data"] == [made]
        assert len(devices.audited(clinician.org_id)) == before

    def test_one_for_each_place(self, devices, clinician, stream):
        assert bind(devices, clinician, stream).status_code == 201
        assert bind(devices, clinician, stream).status_code == 409
        assert bind(devices, clinician, stream, bucket="research").status_code == 201

    @pytest.mark.parametrize(
        "body, field",
        [
            ({"tags": {"patient_id": "x"}}, "tags.patient_id"),
            ({"tags": {"_x": "x"}}, "tags._x"),
            ({"tags": {"a": "x\ny"}}, "tags.a"),
            ({"bucket": "a b"}, "bucket"),
            ({"measurement": "_x"}, "measurement"),
        ],
    )
    def test_are_checked(self, devices, clinician, stream, body, field):
        answer = bind(devices, clinician, stream, **body)
        assert answer.status_code == 400
        assert [item["field"] for item in answer.json["error"]["details"]] == [field]
        assert devices.outbox("signal_stream.bound", clinician.org_id) == []

    def test_need_an_open_stream(self, devices, clinician, stream):
        devices.call("POST", f"/streams/{stream['id']}/end", clinician, json={})
        assert bind(devices, clinician, stream).json["error"]["id"] == "HG-DEV-003"
