"""Writing samples through the service."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from common.auth import device_subject
from common.tokens import AUDIENCE, TokenSigner
from influx_service.stores import StoreUnavailable
from tests.influx_service.support import BEGIN, Stream, at


def write(influx, person, stream, path="/timeseries/write", **body):
    return influx.call("POST", path, person, json={"stream_id": stream.id, **body})


def samples(influx, person, stream, start=0, stop=60):
    query = {"stream_id": stream.id, "start": at(start), "stop": at(stop), "form": "samples"}
    answer = influx.call("GET", "/timeseries/query", person, query_string=query)
    assert answer.status_code == 200, answer.text
    return [(segment["started_at"], segment["values"]) for segment in answer.json["data"]["segments"]]


@pytest.mark.parametrize("path", ["/timeseries/write", "/write"])
def test_samples_are_kept_announced_and_audited(influx, clinician, ecg, path):
    answer = write(influx, clinician, ecg, path, started_at=at(0), values=[0.1, -0.2, 3] * 100)
    assert answer.status_code == 200
    assert answer.json["data"] == {"stream_id": ecg.id, "count": 300, "from": at(0), "to": at(1.2)}
    assert samples(influx, clinician, ecg) == [(at(0), [0.1, -0.2, 3.0] * 100)]
    (event,) = influx.outbox("timeseries.written", clinician.org_id)
    assert event["data"] == {
        "stream_id": ecg.id,
        "patient_id": ecg.patient_id,
        "signal_type": "ECG",
        "from": at(0),
        "to": at(1.2),
    }
    assert "timeseries.written" in influx.audited(clinician.org_id)


def test_points_are_kept(influx, clinician, bind, others):
    stream = bind(signal_type="BP", sample_rate_hz=0.001, unit="mmHg", channel="systolic")
    points = [{"time": at(second), "value": 120 + second} for second in (30, 10, 20)]
    answer = write(influx, clinician, stream, points=points)
    assert answer.json["data"] == {"stream_id": stream.id, "count": 3, "from": at(10), "to": at(30.000001)}
    query = {"stream_id": stream.id, "start": at(0), "stop": at(60)}
    found = influx.call("GET", "/timeseries/query", clinician, query_string=query).json["data"]
    assert found["rows"] == [{"time": at(s), "value": 120.0 + s} for s in (10, 20, 30)]
    assert found["unit"] == "mmHg"


def test_the_same_in_xml(influx, clinician, ecg):
    body = (
        f"<write><stream_id>{ecg.id}</stream_id><started_at>{at(0)}</started_at>"
        "<values><item>1.5</item><item>-2</item></values></write>"
    )
    headers = {"Content-Type": "application/xml", "Accept": "application/xml"}
    answer = influx.call("POST", "/timeseries/write", clinician, data=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert "<count>2</count>" in answer.text
    assert samples(influx, clinician, ecg) == [(at(0), [1.5, -2.0])]


def test_a_repeat_changes_nothing(influx, clinician, ecg):
    for _ in range(2):
        assert write(influx, clinician, ecg, started_at=at(0), values=[1.0] * 500).status_code == 200
    assert samples(influx, clinician, ecg) == [(at(0), [1.0] * 500)]


def test_every_place_of_a_stream_gets_the_samples(influx, clinician, ecg):
    second = replace(ecg, bucket="research", binding_id=str(uuid4()))
    influx.deliver(second.bound(), clinician.org_id)
    write(influx, clinician, ecg, started_at=at(0), values=[1.0])
    store = influx.service.resources["store"]
    for bucket in ("heartguard_signals", "research"):
        found = store.read_samples(str(clinician.org_id), bucket, "ecg", {"stream_id": ecg.id}, 0, 2**62)
        assert [list(segment.values) for segment in found] == [[1.0]]


def token_of_device(influx, person, device_id):
    """A token as the auth service makes it for a paired device."""
    signer = TokenSigner(influx.service.settings, AUDIENCE)
    subject = device_subject(UUID(device_id))
    options = {"org_id": person.org_id, "roles": ["device"], "permissions": ["timeseries:write"]}
    return signer.sign(subject, seconds=60, session_id=str(uuid4()), **options)


class TestWhoMayWrite:
    def test_a_device_writes_but_does_not_read(self, influx, clinician, ecg):
        device = token_of_device(influx, clinician, ecg.device_id)
        assert write(influx, device, ecg, started_at=at(0), values=[1.0]).status_code == 200
        query = {"stream_id": ecg.id, "start": at(0), "stop": at(1)}
        for path in ("/timeseries/query", "/timeseries/plot"):
            assert influx.call("GET", path, device, query_string=query).status_code == 403
        assert influx.call("POST", "/timeseries/buckets", device, json={"name": "x"}).status_code == 403

    def test_a_paired_device_writes_its_own_streams_and_no_others(self, influx, clinician, bind, others):
        own, other = bind(), bind()
        token = token_of_device(influx, clinician, own.device_id)
        assert write(influx, token, own, started_at=at(0), values=[1.0]).status_code == 200
        unbound = str(uuid4())
        others.answers["device", f"/streams/{unbound}/bindings"] = []
        refused = [write(influx, token, other, started_at=at(0), values=[1.0])]
        for stream_id in (unbound, str(uuid4())):
            body = {"stream_id": stream_id, "started_at": at(0), "values": [1.0]}
            refused.append(influx.call("POST", "/timeseries/write", token, json=body))
        assert {(item.status_code, item.json["error"]["id"]) for item in refused} == {(404, "HG-NF-001")}
        assert samples(influx, clinician, other) == []
        assert len(samples(influx, clinician, own)) == 1

    @pytest.mark.parametrize("roles", [("device",), ("clinician", "device")])
    def test_a_person_with_the_role_of_devices_writes_no_stream(self, influx, clinician, ecg, roles):
        person = replace(clinician, roles=roles, permissions=frozenset({"timeseries:write"}))
        for path in ("/timeseries/write", "/write"):
            body = {"stream_id": ecg.id, "started_at": at(0), "values": [1.0]}
            assert influx.call("POST", path, person, json=body).status_code == 404
        assert samples(influx, clinician, ecg) == []

    def test_a_device_writes_no_foreign_stream_before_it_is_known_here(self, influx, clinician, others):
        stream = Stream(str(clinician.org_id))
        others.answers["device", f"/streams/{stream.id}/bindings"] = [{"id": stream.binding_id, **stream.facts()}]
        token = token_of_device(influx, clinician, str(uuid4()))
        assert write(influx, token, stream, started_at=at(0), values=[1.0]).status_code == 404
        assert samples(influx, clinician, stream) == []

    def test_another_organisation_does_not(self, influx, clinician, stranger, ecg, others):
        answer = write(influx, stranger, ecg, started_at=at(0), values=[1.0])
        assert (answer.status_code, answer.json["error"]["id"]) == (404, "HG-NF-001")
        assert others.asked == [("device", f"/streams/{ecg.id}/bindings")]
        assert samples(influx, clinician, ecg) == []

    def test_nobody_without_a_token(self, influx, ecg):
        assert write(influx, None, ecg, started_at=at(0), values=[1.0]).status_code == 401


class TestUnknownStreams:
    def test_are_asked_for_once_and_kept(self, influx, clinician, others):
        stream = Stream(str(clinician.org_id))
        told = {"id": stream.binding_id, "org_id": stream.org_id, **stream.facts()}
        others.answers["device", f"/streams/{stream.id}/bindings"] = [told]
        for second in range(3):
            answer = write(influx, clinician, stream, started_at=at(second), values=[1.0] * 250)
            assert answer.status_code == 200, answer.text
        assert others.asked == [("device", f"/streams/{stream.id}/bindings")]
        assert samples(influx, clinician, stream) == [(at(0), [1.0] * 750)]
        assert influx.deliver(stream.bound(), clinician.org_id, twice=True) == [True, False]
        assert len(samples(influx, clinician, stream)) == 1

    def test_that_have_ended_are_known_as_ended(self, influx, clinician, others):
        stream = Stream(str(clinician.org_id))
        told = {"id": stream.binding_id, **stream.facts(), "ended_at": at(10)}
        others.answers["device", f"/streams/{stream.id}/bindings"] = [told]
        assert write(influx, clinician, stream, started_at=at(60), values=[1.0]).status_code == 409

    def test_without_a_place_are_said_to_have_none(self, influx, clinician, others):
        stream = Stream(str(clinician.org_id))
        others.answers["device", f"/streams/{stream.id}/bindings"] = []
        answer = write(influx, clinician, stream, started_at=at(0), values=[1.0])
        assert (answer.status_code, answer.json["error"]["id"]) == (409, "HG-TSR-002")
        assert f"/streams/{stream.id}/bindings" in answer.json["error"]["message"]


class TestTimes:
    def test_before_the_stream_are_refused(self, influx, clinician, ecg):
        answer = write(influx, clinician, ecg, started_at=at(-6), values=[1.0])
        assert (answer.status_code, answer.json["error"]["id"]) == (409, "HG-TSR-004")
        assert write(influx, clinician, ecg, started_at=at(-4), values=[1.0]).status_code == 200

    @pytest.mark.parametrize("ended_first", [False, True])
    def test_after_the_stream_are_refused_and_late_ones_taken(self, influx, clinician, others, ended_first):
        stream = Stream(str(clinician.org_id))
        events = [stream.bound(), stream.ended(BEGIN + timedelta(seconds=10))]
        for event in reversed(events) if ended_first else events:
            assert influx.deliver(event, clinician.org_id) == [True]
        assert write(influx, clinician, stream, started_at=at(9), values=[1.0] * 250).status_code == 200
        answer = write(influx, clinician, stream, started_at=at(15), values=[1.0] * 250)
        assert answer.json["error"]["id"] == "HG-TSR-004"
        answer = write(influx, clinician, stream, points=[{"time": at(16), "value": 1}])
        assert answer.json["error"]["id"] == "HG-TSR-004"

    def test_in_the_future_are_refused(self, influx, clinician, ecg):
        ahead = 60 * 60
        answer = write(influx, clinician, ecg, started_at=at(ahead), values=[1.0])
        assert (answer.status_code, answer.json["error"]["id"]) == (400, "HG-TSR-005")
        assert write(influx, clinician, ecg, started_at=at(5 * 60 + 60), values=[1.0]).status_code == 200


class TestBodies:
    @pytest.mark.parametrize(
        "body, fields",
        [
            ({}, {"started_at", "values"}),
            ({"started_at": at(0)}, {"values"}),
            ({"values": [1.0]}, {"started_at"}),
            ({"started_at": at(0), "values": []}, {"values"}),
            ({"started_at": at(0), "values": [1.0, "2", None, True]}, {"values.1", "values.2", "values.3"}),
            ({"started_at": at(0), "values": [1e16]}, {"values.0"}),
            ({"started_at": at(0), "values": [0.0] * 100_001}, {"values"}),
            ({"started_at": "2026-01-01T00:00:00", "values": [1.0]}, {"started_at"}),
            ({"points": []}, {"points"}),
            ({"points": [{"value": 1}]}, {"points.0.time"}),
            ({"points": [{"time": at(0), "value": 1}], "values": [1.0]}, {"values"}),
            ({"started_at": at(0), "values": [1.0], "rate": 1}, {"rate"}),
        ],
    )
    def test_are_checked(self, influx, clinician, ecg, body, fields):
        answer = write(influx, clinician, ecg, **body)
        assert (answer.status_code, answer.json["error"]["id"]) == (400, "HG-VAL-001"), answer.text
        assert {item["field"] for item in answer.json["error"]["details"]} == fields
        assert samples(influx, clinician, ecg, -60, 600) == []

    def test_nan_is_refused(self, influx, clinician, ecg):
        body = f'{{"stream_id": "{ecg.id}", "started_at": "{at(0)}", "values": [NaN]}}'
        headers = {"Content-Type": "application/json"}
        answer = influx.call("POST", "/timeseries/write", clinician, data=body, headers=headers)
        assert answer.json["error"]["id"] == "HG-VAL-002"

    def test_may_be_larger_than_others_but_are_bounded(self, influx, clinician, ecg):
        values = [index / 1e9 for index in range(100_000)]
        answer = write(influx, clinician, ecg, started_at=at(-4), values=values)
        assert answer.status_code == 200, answer.text
        ((_, found),) = samples(influx, clinician, ecg, -10, 500)
        assert found == values
        padded = {"note": "x" * 4_200_000}
        assert write(influx, clinician, ecg, **padded).status_code == 413


def test_a_busy_engine_answers_503_and_announces_nothing(influx, clinician, ecg, monkeypatch):
    def busy(*_):
        raise StoreUnavailable("busy")

    monkeypatch.setattr(influx.service.resources["store"], "write_samples", busy)
    answer = write(influx, clinician, ecg, started_at=at(0), values=[1.0])
    assert (answer.status_code, answer.json["error"]["id"]) == (503, "HG-SRV-002")
    assert "Retry-After" in answer.headers
    assert influx.outbox("timeseries.written", clinician.org_id) == []
