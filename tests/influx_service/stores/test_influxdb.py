"""What holds for the InfluxDB engine alone, against an emulated server: errors, names, retention."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.wrappers import Response

from influx_service.stores import FieldTypeConflict, InfluxStore, InvalidData, Point, StoreUnavailable
from influx_service.stores.flux import RATE_FIELD
from influx_service.stores.lines import line_of
from influx_service.stores.points import MAX_TIME
from tests.influx_service.support import at
from tests.support.influxdb import ORG as INFLUXDB_ORG
from tests.support.influxdb import TOKEN, parsed_line

from .conftest import ORG, REAL_SERVER, T0, TAGS, real_store

printable = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
refused = {RATE_FIELD, "result", "table", "time"}
names = printable.filter(lambda text: text[0] not in "_#" and not {'"', "\\"} & set(text) and text not in refused)
tag_values = printable.filter(lambda text: not text.endswith("\\"))
field_values = printable | st.floats(-1e300, 1e300) | st.booleans() | st.integers(-(2**63), 2**63 - 1)


@pytest.fixture
def store(influxdb):
    store = InfluxStore(influxdb.url, TOKEN, INFLUXDB_ORG)
    store.put_bucket(ORG, "signals", 86_400)
    yield store
    store.close()


def fail(influxdb, status, message="no"):
    influxdb.failure = Response(json.dumps({"code": "x", "message": message}), status, content_type="application/json")


@given(names, st.dictionaries(names, tag_values, max_size=3), names, field_values)
@settings(deadline=None)
def test_a_line_says_what_the_point_says(measurement, tags, field, value):
    line = line_of(Point(measurement, tags, {field: value}, T0))
    assert parsed_line(line) == (measurement, tuple(sorted(tags.items())), {field: value}, T0)


def test_a_measurement_that_would_be_a_comment_is_refused(store):
    with pytest.raises(InvalidData):
        store.write(ORG, "signals", [Point("#vitals", TAGS, {"value": 1.0}, T0)])


@pytest.mark.parametrize("name", ['a"b', "a\\b"])
def test_names_that_the_protocol_may_misread_are_refused(store, name):
    for point in (
        Point(name, TAGS, {"value": 1.0}, T0),
        Point("vitals", {name: "x"}, {"value": 1.0}, T0),
        Point("vitals", TAGS, {name: 1.0}, T0),
        Point("vitals", {"bed": "x\\"}, {"value": 1.0}, T0),
    ):
        with pytest.raises(InvalidData):
            store.write(ORG, "signals", [point])


@pytest.mark.parametrize("name", ["time", "result", "table"])
def test_names_of_the_server_itself_are_refused(store, name):
    for point in (Point("vitals", {name: "x"}, {"value": 1.0}, T0), Point("vitals", TAGS, {name: 1.0}, T0)):
        with pytest.raises(InvalidData):
            store.write(ORG, "signals", [point])


def test_a_tag_may_be_called_like_what_queries_add(store):
    store.write(ORG, "signals", [Point("vitals", {"at": "ward", "limit": "x"}, {"value": 1.0}, T0)])
    (row,) = store.query(ORG, "signals", "vitals", {"at": "ward", "limit": "x"}, 0, MAX_TIME, limit=1)
    assert row.tags == {"at": "ward", "limit": "x", "org_id": ORG}


def test_both_ways_are_compressed(store, influxdb):
    store.write(ORG, "signals", [Point("vitals", TAGS, {"value": 1.0}, T0)])
    assert len(store.query(ORG, "signals", "vitals", TAGS, 0, MAX_TIME, limit=1)) == 1
    sent = {path: (encoding, accepted) for _, path, encoding, accepted in influxdb.asked}
    assert sent["/api/v2/write"][0] == "gzip"
    assert "gzip" in sent["/api/v2/query"][1]


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_server_that_cannot_serve_is_unavailable(store, influxdb, status):
    fail(influxdb, status, "patient p1")
    for call in (
        lambda: store.write(ORG, "signals", [Point("vitals", TAGS, {"value": 1.0}, T0)]),
        lambda: store.query(ORG, "signals", "vitals", TAGS, 0, MAX_TIME, limit=1),
        lambda: store.delete(ORG, TAGS),
        lambda: store.buckets(ORG),
    ):
        with pytest.raises(StoreUnavailable) as raised:
            call()
        assert "p1" not in str(raised.value)


def test_a_server_that_is_away_is_unavailable():
    store = InfluxStore("http://127.0.0.1:1", TOKEN, INFLUXDB_ORG)
    assert store.ping() is False
    with pytest.raises(StoreUnavailable):
        store.buckets(ORG)


def test_a_body_too_large_is_refused(store, influxdb):
    fail(influxdb, 413)
    with pytest.raises(InvalidData):
        store.write(ORG, "signals", [Point("vitals", TAGS, {"value": 1.0}, T0)])


def test_an_answer_that_breaks_off_is_unavailable(store, influxdb):
    rows = (
        "#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n,error,reference\r\n,memory limit of p1,897\r\n"
    )
    influxdb.failure = Response(rows, 200, content_type="text/csv; charset=utf-8")
    with pytest.raises(StoreUnavailable) as raised:
        store.query(ORG, "signals", "vitals", TAGS, 0, MAX_TIME, limit=1)
    assert "p1" not in str(raised.value)


def test_an_answer_that_is_no_csv_is_unavailable(store, influxdb):
    influxdb.failure = Response(",result,table\r\n,x,0\r\n", 200, content_type="text/csv; charset=utf-8")
    with pytest.raises(StoreUnavailable):
        store.query(ORG, "signals", "vitals", TAGS, 0, MAX_TIME, limit=1)


@pytest.mark.parametrize(
    "words",
    [
        "points beyond retention policy dropped=1",
        "dropped 1 points outside retention policy of duration 24h0m0s - oldest point vitals at 2025-10-09T08:53:20Z"
        " dropped because it violates a Retention Policy Lower Bound at 2026-11-23T00:00:00Z",
    ],
)
def test_samples_beyond_retention_are_no_error(store, influxdb, words):
    fail(influxdb, 422, f"failure writing points to database: partial write: {words}")
    store.write(ORG, "signals", [Point("vitals", TAGS, {"value": 1.0}, T0)])


def test_a_conflict_of_types_is_told_and_the_rest_kept(store):
    store.write(ORG, "signals", [Point("vitals", TAGS, {"value": 1.0}, T0)])
    with pytest.raises(FieldTypeConflict):
        store.write(ORG, "signals", [Point("vitals", TAGS, {"value": v}, T0 + i) for i, v in enumerate((2.0, "two"))])
    (row,) = store.query(ORG, "signals", "vitals", TAGS, 0, MAX_TIME, limit=9)
    assert row.fields == {"value": 2.0}


def test_the_server_is_told_what_to_keep(store, influxdb):
    (bucket,) = influxdb.buckets.values()
    assert bucket["name"] == f"heartguard/{ORG}/signals"
    assert [rule["everySeconds"] for rule in bucket["retentionRules"]] == [86_400]


def test_more_buckets_than_a_page_are_listed(store):
    for number in range(205):
        store.put_bucket(ORG, f"b{number:03}", None)
    assert len(store.buckets(ORG)) == 206


def test_a_bucket_that_somebody_else_makes_meanwhile_is_taken(store, influxdb, monkeypatch):
    api = store._server._buckets
    listed = api.find_buckets

    def late(**asked):
        monkeypatch.setattr(api, "find_buckets", listed)
        InfluxStore(influxdb.url, TOKEN, INFLUXDB_ORG).put_bucket(ORG, "daily", None)
        return listed(org=INFLUXDB_ORG)

    monkeypatch.setattr(api, "find_buckets", late)
    store.put_bucket(ORG, "daily", 3600)
    assert [(bucket.name, bucket.retention) for bucket in store.buckets(ORG)] == [("daily", 3600), ("signals", 86_400)]


def test_the_contract_ran_on_a_real_server():
    if REAL_SERVER is None:
        pytest.skip("HEARTGUARD_TEST_INFLUXDB_URL names no InfluxDB 2: the contract ran on the emulated one alone")
    store = real_store()
    assert store.ping()
    assert store._server._client.version().removeprefix("v").startswith("2.")
    store.close()


def test_the_service_writes_reads_and_draws_over_it(influx, clinician, ecg, influxdb, monkeypatch):
    store = InfluxStore(influxdb.url, TOKEN, INFLUXDB_ORG)
    monkeypatch.setitem(influx.service.resources, "store", store)
    body = {"stream_id": ecg.id, "started_at": at(0), "values": [0.1, 0.2] * 250}
    assert influx.call("POST", "/timeseries/write", clinician, json=body).status_code == 200
    query = {"stream_id": ecg.id, "start": at(0), "stop": at(60), "form": "samples"}
    found = influx.call("GET", "/timeseries/query", clinician, query_string=query).json["data"]["segments"]
    assert [segment["values"] for segment in found] == [[0.1, 0.2] * 250]
    plot = {"stream_id": ecg.id, "start": at(0), "seconds": 10}
    assert influx.call("GET", "/timeseries/plot", clinician, query_string=plot).status_code == 200
    fail(influxdb, 503)
    answer = influx.call("POST", "/timeseries/write", clinician, json=body)
    assert (answer.status_code, answer.json["error"]["id"]) == (503, "HG-SRV-002")
    assert "Retry-After" in answer.headers
    store.close()
