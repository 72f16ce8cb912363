"""Models, event types, inferences and ground truth through the API, and who sees whose."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from common.database import ALL_ORGANIZATIONS
from inference_service.catalogue import running_versions

EVENTS = {
    "GENERAL_RISK": ("medium", "low", "critical"),
    "ARRHYTHMIA": ("high", "medium", "critical"),
    "DESAT": ("high", "low", "critical"),
    "HYPERTENSION": ("medium", "medium", "critical"),
    "HYPOTENSION": ("high", "medium", "critical"),
    "FEVER": ("medium", "low", "high"),
    "HYPOTHERMIA": ("high", "medium", "critical"),
    "SIGNAL_LOST": ("medium", "low", "high"),
}
FALL = {"code": "FALL", "name": "Caída", "default_level": "high", "min_level": "medium", "max_level": "critical"}
VERSION = {
    "version": "0.1.0",
    "runtime": "onnx",
    "entry_point": "media:fall.onnx",
    "sha256": "0" * 64,
    "inputs": [{"signal": "ECG", "unit": "mV", "min_rate_hz": 100, "max_rate_hz": 500, "max_age_s": 0}],
    "window_s": 30,
    "step_s": 10,
    "events": ["ARRHYTHMIA"],
    "metrics": [{"dataset": "mitdb", "n": 48, "sensitivity": 0.95}],
}


@pytest.fixture
def call(inference, clinician):
    """A request of the clinician; returns the answer."""

    def send(method, path, json=None, person=clinician, **options):
        return inference.call(method, path, person, json=json, **options)

    return send


@pytest.fixture
def built_in(inference, call):
    """The built-in models by name."""
    running_versions(inference.database)
    return {row["name"]: row for row in call("GET", "/models").json["data"] if row["org_id"] is None}


@pytest.fixture
def model(call):
    """A model of the organisation."""
    return call("POST", "/models", {"name": "falls"}).json["data"]


def test_the_built_in_models_say_what_they_are(call, built_in):
    assert set(built_in) == {"news2", "vital_limits", "ecg_rhythm"}
    path = f"/models/{built_in['ecg_rhythm']['id']}/versions"
    (version,) = [row for row in call("GET", path).json["data"] if row["version"] == "1.0.0"]
    assert (version["runtime"], version["stage"], version["window_s"]) == ("builtin", "production", 30)
    assert version["inputs"][0]["unit"] == "mV"
    assert {row["event_type"] for row in version["limits"]} == {"ARRHYTHMIA", "SIGNAL_LOST"}
    assert len(version["sha256"]) == 64
    assert version["validated_at"]
    xml = call("GET", f"{path}/1.0.0", headers={"Accept": "application/xml"})
    assert "<unit>mV</unit>" in xml.text


def test_the_event_types_are_those_of_the_contract(call):
    rows = call("GET", "/event-types").json["data"]
    assert {row["code"]: (row["default_level"], row["min_level"], row["max_level"]) for row in rows} == EVENTS


def test_a_validated_version_cannot_change_even_in_the_database(inference, built_in):
    for statement in ("UPDATE model_versions SET window_s = 1", "DELETE FROM model_versions"):
        with (
            pytest.raises(DBAPIError, match="validated"),
            inference.database.transaction(ALL_ORGANIZATIONS, technical=True) as session,
        ):
            session.execute(text(statement))


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_is_built_in_is_fixed(call, built_in, method):
    event_type = call("GET", "/event-types").json["data"][0]
    for path, body in (
        (f"/models/{built_in['news2']['id']}", {"name": "mine"}),
        (f"/event-types/{event_type['id']}", FALL),
    ):
        answer = call(method, path, body if method == "PUT" else None)
        assert (answer.status_code, answer.json["error"]["id"]) == (409, "HG-INF-001")


def test_a_stage_holds_in_one_organisation(call, built_in, stranger, inference, clinician):
    path = f"/models/{built_in['news2']['id']}/versions/1.0.0"
    for stage in ("shadow", "retired"):
        assert call("PUT", f"{path}/stage", {"stage": stage}).json["data"]["stage"] == stage
    assert call("GET", path).json["data"]["stage"] == "retired"
    assert call("GET", path, person=stranger).json["data"]["stage"] == "production"
    assert inference.audited(clinician.org_id) == ["model.stage_set"] * 2


def test_a_model_of_ones_own(call, model, stranger, inference, clinician):
    versions = f"/models/{model['id']}/versions"
    made = call("POST", versions, VERSION)
    assert (made.status_code, made.headers["Location"]) == (201, f"{versions}/0.1.0")
    assert made.json["data"].items() >= {"stage": "retired", "validated_at": None}.items()
    assert call("POST", versions, VERSION).status_code == 409
    refused = call("PUT", f"{versions}/0.1.0/stage", {"stage": "production"})
    assert (refused.status_code, refused.json["error"]["id"]) == (409, "HG-INF-003")
    assert (
        call("PUT", f"/models/{model['id']}", {"name": "falls", "description": "x"}).json["data"]["description"] == "x"
    )
    for path in (f"/models/{model['id']}", f"{versions}/0.1.0", versions):
        assert call("GET", path, person=stranger).status_code == 404
    assert call("DELETE", f"/models/{model['id']}").status_code == 204
    assert call("GET", versions).status_code == 404
    assert inference.audited(clinician.org_id)[:2] == ["model.created", "model.version_created"]


def test_an_event_type_of_ones_own(call, stranger):
    made = call("POST", "/event-types", FALL).json["data"]
    path = f"/event-types/{made['id']}"
    assert call("POST", "/event-types", FALL).status_code == 409
    upside_down = FALL | {"min_level": "critical", "max_level": "low"}
    assert call("PUT", path, upside_down).json["error"]["id"] == "HG-INF-005"
    assert call("PUT", path, FALL | {"name": "Caída brusca"}).json["data"]["name"] == "Caída brusca"
    assert call("GET", path, person=stranger).status_code == 404
    assert call("DELETE", path).status_code == 204
    assert call("GET", path).status_code == 404


def test_without_model_manage_nothing_is_changed(call, clinician, built_in):
    reader = replace(clinician, permissions=frozenset({"inference:read"}))
    assert call("GET", "/models", person=reader).status_code == 200
    assert call("POST", "/models", {"name": "x"}, person=reader).status_code == 403
    stage = f"/models/{built_in['news2']['id']}/versions/1.0.0/stage"
    assert call("PUT", stage, {"stage": "retired"}, person=reader).status_code == 403


@pytest.fixture
def judged(bed):
    """A bed with a desaturation that was judged."""
    bed.stream_id = bed.bind("SpO2", 1, "%")
    bed.write(bed.stream_id, 0, [97.0] * 60 + [82.0] * 40)
    bed.judge()
    return bed


def test_inferences_are_found_by_what_they_are_about(call, judged):
    def found(**query):
        return call("GET", "/inferences", query_string=query).json["data"]

    critical = found(event_type="DESAT", level="critical", patient_id=judged.patient_id)
    assert critical
    assert {row["stream_id"] for row in critical} == {str(judged.stream_id)}
    assert all(row["score"] >= row["threshold"] for row in critical)
    until = critical[-1]["window_end"]
    assert critical[-1]["id"] not in {row["id"] for row in found(to=until)}
    assert critical[-1]["id"] in {row["id"] for row in found(**{"from": until})}
    assert found(patient_id=uuid4()) == []
    one = call("GET", f"/inferences/{critical[0]['id']}").json["data"]
    assert one == critical[0]
    assert one["explanation"].items() >= {"metric": "spo2", "value": 82, "unit": "%", "limit": "<= 85"}.items()
    assert judged.inference.audited(judged.person.org_id)[-1] == "inference.read"


def test_another_organisation_sees_no_inference(call, judged, stranger):
    mine = judged.inferences()
    assert mine
    assert call("GET", "/inferences", person=stranger).json["data"] == []
    assert call("GET", f"/inferences/{mine[0]['id']}", person=stranger).status_code == 404
    run = call("POST", "/inferences", {"stream_id": str(judged.stream_id)}, person=stranger)
    assert run.status_code == 404


@pytest.mark.parametrize("role", ["clinician", "caregiver", "patient"])
def test_people_see_the_inferences_of_those_whom_they_may_see(call, judged, clinician, cared_for, role):
    person = replace(clinician, user_id=uuid4(), roles=(role,))
    paths = [f"/inferences/{judged.inferences()[0]['id']}", f"/inference-profiles/{judged.patient_id}"]
    profile = {"spo2_scale": 1}
    label = {"patient_id": str(judged.patient_id), "event_type": "DESAT", "onset_at": judged.at(0).isoformat()}
    assert call("PUT", paths[1], profile).status_code == 200
    cared_for(person, uuid4())
    assert call("GET", "/inferences", person=person).json["data"] == []
    assert [call("GET", path, person=person).status_code for path in paths] == [404, 404]
    assert call("PUT", paths[1], profile, person=person).status_code == 404
    assert call("POST", "/ground-truth", label, person=person).status_code == 404
    assert call("POST", "/inferences", {"stream_id": str(judged.stream_id)}, person=person).status_code == 404
    cared_for(person, judged.patient_id)
    assert len(call("GET", "/inferences", person=person).json["data"]) == len(judged.inferences())
    assert [call("GET", path, person=person).status_code for path in paths] == [200, 200]
    assert call("POST", "/ground-truth", label, person=person).status_code == 201


def test_a_window_judged_on_demand_is_stored_and_alarms_nobody(call, judged):
    told = len(judged.inference.outbox("inference.alert_candidate", judged.person.org_id))
    body = {"stream_id": str(judged.stream_id), "at": judged.at(90).isoformat()}
    answer = call("POST", "/inferences", body)
    assert (answer.status_code, answer.json["data"]["status"]) == (200, "ok")
    rows = {row["event_type"]: row for row in answer.json["data"]["inferences"]}
    assert rows["DESAT"]["level"] == "critical"
    assert call("GET", f"/inferences/{rows['DESAT']['id']}").status_code == 200
    again = call("POST", "/inferences", body).json["data"]["inferences"]
    assert {row["id"] for row in again} == {row["id"] for row in rows.values()}
    assert len(judged.inference.outbox("inference.alert_candidate", judged.person.org_id)) == told


def test_a_window_without_samples_is_refused(call, judged):
    body = {"stream_id": str(judged.stream_id), "at": (judged.at(0) - timedelta(hours=1)).isoformat()}
    assert call("POST", "/inferences", body).json["error"]["id"] == "HG-INF-004"


def test_ground_truth_is_kept(call, judged, stranger, clinician):
    inference_id = judged.inferences(event_type="DESAT")[-1]["id"]
    body = {
        "patient_id": str(judged.patient_id),
        "stream_id": str(judged.stream_id),
        "inference_id": inference_id,
        "event_type": "DESAT",
        "onset_at": judged.at(60).isoformat(),
        "ended_at": judged.at(100).isoformat(),
    }
    made = call("POST", "/ground-truth", body)
    assert made.status_code == 201
    path = made.headers["Location"]
    assert made.json["data"].items() >= {"present": True, "labelled_by": str(clinician.user_id)}.items()
    assert call("PUT", path, body | {"present": False}).json["data"]["present"] is False
    found = call("GET", "/ground-truth", query_string={"patient_id": judged.patient_id, "event_type": "DESAT"})
    assert [row["id"] for row in found.json["data"]] == [made.json["data"]["id"]]
    assert call("GET", path, person=stranger).status_code == 404
    assert call("GET", "/ground-truth", person=stranger).json["data"] == []
    assert call("DELETE", path).status_code == 204
    assert call("GET", path).status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"event_type": "SNEEZE"}, "event_type"),
        ({"ended_at": "2026-01-01T00:00:00Z"}, "ended_at"),
        ({"onset_at": "2026-01-01T00:00:00"}, "onset_at"),
    ],
)
def test_an_impossible_label_is_refused(call, change, field):
    body = {"patient_id": str(uuid4()), "event_type": "DESAT", "onset_at": "2026-01-02T00:00:00Z"}
    answer = call("POST", "/ground-truth", body | change)
    assert answer.status_code == 400
    assert [item["field"] for item in answer.json["error"]["details"]] == [field]


def test_a_label_for_another_patients_inference_is_refused(call, judged):
    body = {
        "patient_id": str(uuid4()),
        "inference_id": judged.inferences()[0]["id"],
        "event_type": "DESAT",
        "onset_at": judged.at(0).isoformat(),
    }
    assert call("POST", "/ground-truth", body).status_code == 404


def test_a_profile_is_replaced_and_dated(call, stranger):
    path = f"/inference-profiles/{uuid4()}"
    assert call("GET", path).status_code == 404
    own = [{"event_type": "DESAT", "condition": "spo2", "level": "high", "value": 86}]
    first = call("PUT", path, {"on_oxygen": True, "known_af": True, "limits": own}).json["data"]
    assert first["limits"] == own
    assert first["on_oxygen_at"]
    assert call("GET", path).json["data"] == first
    assert call("GET", path, person=stranger).status_code == 404
    assert call("PUT", path, {}).json["data"].items() >= {"on_oxygen_at": None, "known_af": False, "limits": []}.items()


@pytest.mark.parametrize("condition", ["nonsense", "spo2"])
def test_an_impossible_limit_is_refused(call, condition):
    own = [{"event_type": "DESAT", "condition": condition, "value": 400}]
    answer = call("PUT", f"/inference-profiles/{uuid4()}", {"limits": own})
    assert (answer.status_code, answer.json["error"]["details"][0]["field"]) == (400, "limits")


def test_the_web_process_starts_without_numpy(inference):

    code = "import sys, inference_service.app; sys.exit('numpy' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True).returncode == 0
