"""Reading samples through the service: forms, bounds, who may see them, plots."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from uuid import uuid4

import pytest

from tests.influx_service.support import Stream, at


@pytest.fixture
def written(influx, clinician, ecg):
    """An ECG stream with two seconds, a second's gap, and one second more."""
    for second, value in ((0, 1.0), (1, 2.0), (3, 4.0)):
        body = {"stream_id": ecg.id, "started_at": at(second), "values": [value] * 250}
        assert influx.call("POST", "/timeseries/write", clinician, json=body).status_code == 200
    return ecg


def query(influx, person, stream, path="/timeseries/query", **parameters):
    parameters = {"stream_id": stream.id, "start": at(0), "stop": at(10), **parameters}
    return influx.call("GET", path, person, query_string=parameters)


class TestForms:
    def test_samples_with_gaps_explicit(self, influx, clinician, written):
        data = query(influx, clinician, written, form="samples").json["data"]
        assert data == {
            "stream_id": written.id,
            "patient_id": written.patient_id,
            "signal_type": "ECG",
            "channel": "MLII",
            "unit": "mV",
            "sample_rate_hz": 250.0,
            "segments": [
                {"started_at": at(0), "sample_rate_hz": 250.0, "values": [1.0] * 250 + [2.0] * 250},
                {"started_at": at(3), "sample_rate_hz": 250.0, "values": [4.0] * 250},
            ],
        }

    def test_rows_plain_and_limited(self, influx, clinician, written):
        rows = query(influx, clinician, written, start=at(0.99), limit=4).json["data"]["rows"]
        assert [row["value"] for row in rows] == [1.0, 1.0, 2.0, 2.0]
        assert rows[2]["time"] == at(1)

    @pytest.mark.parametrize("aggregate, expected", [("mean", [1, 2, 4]), ("count", [250] * 3), ("last", [1, 2, 4])])
    def test_rows_aggregated(self, influx, clinician, written, aggregate, expected):
        rows = query(influx, clinician, written, aggregate=aggregate, every_s=1).json["data"]["rows"]
        assert rows == [{"time": at(s), "value": v} for s, v in zip((0, 1, 3), expected, strict=True)]

    def test_post_and_the_short_path_are_the_same(self, influx, clinician, written):
        expected = query(influx, clinician, written, form="samples").json
        assert query(influx, clinician, written, "/query", form="samples").json == expected
        body = {"stream_id": written.id, "start": at(0), "stop": at(10), "form": "samples"}
        assert influx.call("POST", "/timeseries/query", clinician, json=body).json == expected

    def test_xml_says_the_same(self, influx, clinician, written):
        parameters = {"stream_id": written.id, "start": at(2.99), "stop": at(3.012), "form": "samples"}
        answer = influx.call(
            "GET", "/timeseries/query", clinician, query_string=parameters, headers={"Accept": "application/xml"}
        )
        root = ElementTree.fromstring(answer.text)
        assert [float(item.text) for item in root.findall("data/segments/item/values/item")] == [4.0] * 3

    def test_a_stream_without_samples_is_empty(self, influx, clinician, bind, others):
        stream = bind(bucket="never_written")
        assert query(influx, clinician, stream, form="samples").json["data"]["segments"] == []
        assert query(influx, clinician, stream).json["data"]["rows"] == []

    @pytest.mark.parametrize(
        "wrong, error",
        [
            ({"stop": at(0)}, "HG-VAL-001"),
            ({"every_s": 1}, "HG-VAL-001"),
            ({"form": "samples", "aggregate": "mean"}, "HG-VAL-001"),
            ({"aggregate": "median"}, "HG-VAL-001"),
            ({"limit": 5001}, "HG-VAL-001"),
            ({"form": "samples", "stop": at(801)}, "HG-TSR-003"),
            ({"aggregate": "mean", "every_s": 0.001, "stop": at(3600)}, "HG-TSR-003"),
            ({"colour": "red"}, "HG-VAL-001"),
        ],
    )
    def test_are_checked_and_bounded(self, influx, clinician, written, wrong, error):
        answer = query(influx, clinician, written, **wrong)
        assert (answer.status_code, answer.json["error"]["id"]) == (400, error), answer.text


class TestWhoMayRead:
    def test_reading_is_audited_for_people_not_for_services(self, influx, clinician, written):
        token = influx.service_token("inference", clinician.org_id, ("timeseries:read",))
        assert query(influx, token, written, form="samples").status_code == 200
        assert "timeseries.read" not in influx.audited(clinician.org_id)
        query(influx, clinician, written)
        assert influx.audited(clinician.org_id)[-1] == "timeseries.read"

    def test_another_organisation_does_not(self, influx, stranger, written):
        assert query(influx, stranger, written).status_code == 404
        token = influx.service_token("inference", stranger.org_id, ("timeseries:read",))
        assert query(influx, token, written).status_code == 404

    @pytest.mark.parametrize("role", ["clinician", "caregiver", "patient"])
    def test_those_do_who_may_see_the_patient(self, influx, clinician, written, cared_for, role):
        person = replace(clinician, roles=(role,), user_id=uuid4())
        assert query(influx, person, written).status_code == 404
        cared_for(person, written.patient_id)
        assert query(influx, person, written).status_code == 200
        plot = {"stream_id": written.id, "start": at(0), "seconds": 10}
        assert influx.call("GET", "/timeseries/plot", person, query_string=plot).status_code == 200
        assert query(influx, replace(person, user_id=uuid4()), written).status_code == 404


class TestPlots:
    def plot(self, influx, person, stream, **parameters):
        parameters = {"stream_id": stream.id, "start": at(0), "seconds": 10, **parameters}
        return influx.call("GET", "/timeseries/plot", person, query_string=parameters)

    def test_a_waveform_is_a_strip_with_its_gap_and_mark(self, influx, clinician, written):
        answer = self.plot(influx, clinician, written, mark="Taquicardia", mark_at=at(1), mark_until=at(2))
        assert answer.status_code == 200
        assert answer.content_type == "image/svg+xml; charset=utf-8"
        assert "script" not in answer.headers["Content-Security-Policy"]
        ElementTree.fromstring(answer.text)
        for word in ("ECG MLII", "25 mm/s · 10 mm/mV", "sin señal", "Taquicardia"):
            assert word in answer.text
        assert influx.audited(clinician.org_id)[-1] == "timeseries.read"

    def test_a_vital_sign_is_a_trend(self, influx, clinician, bind, others):
        stream = bind(signal_type="HR", unit="bpm", sample_rate_hz=1, channel="")
        values = [70 + 10 * math.sin(second / 20) for second in range(300)]
        body = {"stream_id": stream.id, "started_at": at(0), "values": values}
        assert influx.call("POST", "/timeseries/write", clinician, json=body).status_code == 200
        answer = self.plot(influx, clinician, stream, seconds=3600)
        assert "Frecuencia cardiaca (bpm)" in answer.text
        assert 'class="trace trend"' in answer.text

    def test_a_browser_may_ask_for_an_image(self, influx, clinician, written):
        parameters = {"stream_id": written.id, "start": at(0)}
        headers = {"Accept": "image/svg+xml"}
        answer = influx.call("GET", "/timeseries/plot", clinician, query_string=parameters, headers=headers)
        assert answer.status_code == 200

    def test_a_mark_needs_its_time(self, influx, clinician, written):
        assert self.plot(influx, clinician, written, mark="Taquicardia").status_code == 400

    def test_a_strip_is_bounded(self, influx, clinician, written):
        answer = self.plot(influx, clinician, written, seconds=61)
        assert (answer.status_code, answer.json["error"]["id"]) == (400, "HG-TSR-003")


def test_a_read_right_after_the_binding_works(influx, clinician, others):
    stream = Stream(str(clinician.org_id))
    others.answers["device", f"/streams/{stream.id}/bindings"] = [{"id": stream.binding_id, **stream.facts()}]
    assert query(influx, clinician, stream).json["data"]["rows"] == []
