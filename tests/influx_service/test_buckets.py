"""Buckets: the table, and the engine that follows it."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from influx_service import tasks
from influx_service.stores import InfluxStore, Point
from tests.influx_service.support import BEGIN, at
from tests.support.influxdb import ORG, TOKEN, emulated_influxdb
from tests.support.services import event_like


@pytest.fixture
def store(influx):
    return influx.service.resources["store"]


def create(influx, person, name="research", **body):
    answer = influx.call("POST", "/timeseries/buckets", person, json={"name": name, **body})
    assert answer.status_code == 201, answer.text
    return answer


def buckets_of(influx, person):
    """The organisation's buckets by name."""
    return {row["name"]: row for row in influx.call("GET", "/timeseries/buckets", person).json["data"]}


def kept(store, person):
    """The engine's buckets and their retention in days."""
    return {
        bucket.name: bucket.retention and bucket.retention // 86_400 for bucket in store.buckets(str(person.org_id))
    }


def test_are_created_changed_listed_and_audited(influx, clinician):
    made = create(influx, clinician, retention_days=30)
    bucket = made.json["data"]
    path = f"/timeseries/buckets/{bucket['id']}"
    assert made.headers["Location"] == path
    assert influx.call("GET", path, clinician).json["data"] == bucket
    changed = influx.call("PATCH", path, clinician, json={"retention_days": None})
    assert changed.json["data"]["retention_days"] is None
    assert [row["name"] for row in influx.call("GET", "/timeseries/buckets", clinician).json["data"]] == ["research"]
    assert influx.audited(clinician.org_id) == ["bucket.created", "bucket.changed"]


def test_names_are_unique_in_an_organisation(influx, clinician, stranger):
    create(influx, clinician)
    assert influx.call("POST", "/timeseries/buckets", clinician, json={"name": "research"}).status_code == 409
    create(influx, stranger)


def test_another_organisation_sees_nothing(influx, clinician, stranger):
    path = f"/timeseries/buckets/{create(influx, clinician).json['data']['id']}"
    for method, body in (("GET", None), ("PATCH", {"retention_days": 1}), ("DELETE", None)):
        assert influx.call(method, path, stranger, json=body).status_code == 404
    assert influx.call("GET", "/timeseries/buckets", stranger).json["data"] == []


@pytest.mark.parametrize(
    "body, field",
    [({"name": "a b"}, "name"), ({"name": "x", "retention_days": 0}, "retention_days"), ({}, "name")],
)
def test_are_checked(influx, clinician, body, field):
    answer = influx.call("POST", "/timeseries/buckets", clinician, json=body)
    assert [item["field"] for item in answer.json["error"]["details"]] == [field]


def test_the_engine_follows_the_table(influx, clinician, store):
    bucket = create(influx, clinician, retention_days=30).json["data"]
    path = f"/timeseries/buckets/{bucket['id']}"
    assert tasks.follow_buckets(influx.database, store) == 0
    assert kept(store, clinician) == {"research": 30}
    influx.call("PATCH", path, clinician, json={"retention_days": 7})
    tasks.follow_buckets(influx.database, store)
    assert kept(store, clinician) == {"research": 7}
    assert influx.call("DELETE", path, clinician).status_code == 204
    assert influx.call("GET", path, clinician).status_code == 404
    for _ in range(2):
        tasks.follow_buckets(influx.database, store)
    assert kept(store, clinician) == {}
    create(influx, clinician)


def test_a_bucket_with_open_streams_stays(influx, clinician, bind, others, store):
    stream = bind(bucket="research")
    bucket = buckets_of(influx, clinician)["research"]
    assert bucket["retention_days"] is None
    path = f"/timeseries/buckets/{bucket['id']}"
    answer = influx.call("DELETE", path, clinician)
    assert (answer.status_code, answer.json["error"]["id"]) == (409, "HG-TSR-006")
    influx.deliver(stream.ended(BEGIN + timedelta(seconds=60)), clinician.org_id)
    assert influx.call("DELETE", path, clinician).status_code == 204


def test_a_new_stream_saves_a_bucket_from_deletion(influx, clinician, bind, others, store):
    bucket = create(influx, clinician).json["data"]
    path = f"/timeseries/buckets/{bucket['id']}"
    assert influx.call("DELETE", path, clinician).status_code == 204
    stream = bind(bucket="research")
    tasks.follow_buckets(influx.database, store)
    body = {"stream_id": stream.id, "started_at": at(0), "values": [1.0]}
    assert influx.call("POST", "/timeseries/write", clinician, json=body).status_code == 200
    assert influx.call("GET", path, clinician).status_code == 200


def test_late_samples_do_not_bring_a_deleted_bucket_back(influx, clinician, bind, others, store):
    stream = bind(bucket="research")
    influx.deliver(stream.ended(BEGIN + timedelta(seconds=60)), clinician.org_id)
    bucket = buckets_of(influx, clinician)["research"]
    assert influx.call("DELETE", f"/timeseries/buckets/{bucket['id']}", clinician).status_code == 204
    body = {"stream_id": stream.id, "started_at": at(0), "values": [1.0]}
    for _ in range(2):
        assert influx.call("POST", "/timeseries/write", clinician, json=body).status_code == 404
        tasks.follow_buckets(influx.database, store)
    assert "research" not in kept(store, clinician)


def test_a_write_before_the_worker_came_takes_the_retention(influx, clinician, bind, others, store):
    create(influx, clinician, retention_days=30)
    stream = bind(bucket="research")
    body = {"stream_id": stream.id, "started_at": at(0), "values": [1.0]}
    assert influx.call("POST", "/timeseries/write", clinician, json=body).status_code == 200
    assert kept(store, clinician) == {"research": 30}


def test_expired_samples_are_forgotten(influx, clinician, bind, others, store):
    create(influx, clinician, retention_days=1)
    old = bind(bucket="research", begins=BEGIN - timedelta(days=3))
    for begun in (-2 * 86_400, 0):
        body = {"stream_id": old.id, "started_at": at(begun), "values": [1.0] * 250}
        assert influx.call("POST", "/timeseries/write", clinician, json=body).status_code == 200
    assert tasks.forget_expired(store) == 0
    found = store.read_samples(str(clinician.org_id), "research", "ecg", {"stream_id": old.id}, 0, 2**62)
    assert [len(segment.values) for segment in found] == [250]


def test_ready_names_the_engine(influx, monkeypatch, store):
    answer = influx.call("GET", "/ready")
    assert answer.json["data"]["dependencies"]["timeseries"]["state"] == "up"
    monkeypatch.setattr(store, "ping", lambda: False)
    answer = influx.call("GET", "/ready")
    assert (answer.status_code, answer.json["data"]["dependencies"]["timeseries"]["state"]) == (503, "down")


# --- the organisation's retention ----------------------------------------------------------------------------------


def keep(influx, person, days, version=1, **options):
    """The organization service says for how long samples are kept."""
    facts = {"retention_days": days, "settings_version": version, "second_factor_required": False}
    event = event_like("organization.rules_changed", "organization.topic", **facts)
    return influx.deliver(event, person.org_id, **options)


def test_no_bucket_keeps_longer_than_the_organisation(influx, clinician, stranger, store):
    create(influx, clinician)
    create(influx, clinician, "short", retention_days=30)
    create(influx, clinician, "long", retention_days=9_000)
    create(influx, stranger)
    assert keep(influx, clinician, 365) == [True]
    tasks.follow_buckets(influx.database, store)
    assert kept(store, clinician) == {"research": 365, "short": 30, "long": 365}
    assert kept(store, stranger) == {"research": None}
    listed = influx.call("GET", "/timeseries/buckets", clinician).json["data"]
    found = {row["name"]: (row["retention_days"], row["kept_days"]) for row in listed}
    assert found == {"research": (None, 365), "short": (30, 30), "long": (9_000, 365)}
    assert influx.audited(clinician.org_id)[-1] == "organization_rules.kept"


@pytest.mark.parametrize("engine", ["embedded", "influxdb"])
def test_both_standard_buckets_are_made_with_the_organisations_retention(influx, clinician, bind, store, engine):
    with emulated_influxdb() as server:
        store = store if engine == "embedded" else InfluxStore(server.url, TOKEN, ORG)
        keep(influx, clinician, 365)
        for _ in range(2):
            bind()
            tasks.follow_buckets(influx.database, store)
            assert kept(store, clinician) == {"heartguard_signals": 365, "heartguard_predictions": 365}
        store.write(
            str(clinician.org_id), "heartguard_predictions", [Point("risk", {}, {"value": 0.5}, time.time_ns())]
        )


def test_an_older_rule_that_comes_late_changes_nothing(influx, clinician, store):
    create(influx, clinician)
    keep(influx, clinician, 365, version=3)
    keep(influx, clinician, 30, version=2)
    tasks.follow_buckets(influx.database, store)
    assert kept(store, clinician) == {"research": 365}


def test_samples_that_are_too_old_for_the_organisation_go_and_younger_stay(influx, clinician, bind, others, store):
    """A bucket that the worker has not come to yet is made with the organisation's retention, too."""
    keep(influx, clinician, 400)
    stream = bind(begins=BEGIN - timedelta(days=300), signal_type="HR", sample_rate_hz=1.0, unit="bpm")
    old, young = BEGIN - timedelta(days=200), BEGIN
    points = [{"time": moment.isoformat(), "value": 60.0} for moment in (old, young)]
    written = influx.call("POST", "/timeseries/write", clinician, json={"stream_id": stream.id, "points": points})
    assert written.status_code == 200, written.text
    assert kept(store, clinician) == {"heartguard_signals": 400}

    def found():
        window = {"start": (old - timedelta(days=1)).isoformat(), "stop": at(60)}
        query = {"stream_id": stream.id, "form": "rows", **window}
        rows = influx.call("POST", "/timeseries/query", clinician, json=query).json["data"]["rows"]
        return [row["time"][:10] for row in rows]

    tasks.forget_expired(store)
    assert found() == [moment.date().isoformat() for moment in (old, young)]
    keep(influx, clinician, 100, version=2)
    tasks.follow_buckets(influx.database, store)
    tasks.forget_expired(store)
    assert found() == [young.date().isoformat()]
