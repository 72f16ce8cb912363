"""Taking the time series of one InfluxDB 2 server into another, on emulated ones."""

import itertools

import pytest

from influx_service.stores import SECOND, FieldTypeConflict, InfluxStore, Point, StoreError
from influx_service.stores.points import MAX_TIME
from influx_service.stores.server import LINES_PER_REQUEST, Server
from influx_service.stores.transfer import dump, load
from tests.support.influxdb import ORG as INFLUXDB_ORG
from tests.support.influxdb import TOKEN, emulated_influxdb

from .conftest import ORG, OTHER_ORG, T0, TAGS

TEXTS = ['a "b" \\ c', "ends\\", "", "áñ 心", "=, x"]


@pytest.fixture
def other():
    """A second empty InfluxDB 2."""
    with emulated_influxdb() as server:
        yield server


def opened(influxdb):
    return Server(influxdb.url, TOKEN, INFLUXDB_ORG)


def held(influxdb):
    """All that a server holds: retention and values of each bucket by name."""
    return {
        bucket["name"]: (bucket["retentionRules"][0]["everySeconds"], influxdb.series[identity])
        for identity, bucket in influxdb.buckets.items()
    }


@pytest.fixture
def filled(influxdb):
    """A server with samples, and with points of every type and awkward text."""
    store = InfluxStore(influxdb.url, TOKEN, INFLUXDB_ORG)
    store.put_bucket(ORG, "signals", 86_400)
    store.put_bucket(OTHER_ORG, "signals", None)
    store.put_bucket(OTHER_ORG, "empty", 400 * 86_400)
    store.write_samples(ORG, "signals", "ecg", TAGS, T0 + 7, 360, [0.1 * index for index in range(LINES_PER_REQUEST)])
    fields = {"value": 5e-324, "n": -(2**63), "ok": False, "yes": True, "a field, so=called": 1e300}
    points = [Point("vital signs,x", {"cama": 'a,b=c "d" \\ e'}, fields, T0 + 123_456_789), Point("v", {}, {"n": 1}, 0)]
    points += [Point("notes", TAGS, {"text": text}, T0 + index * SECOND) for index, text in enumerate(TEXTS)]
    store.write(OTHER_ORG, "signals", points)
    store.close()
    return influxdb


def test_all_of_it_arrives(filled, other):
    lines = list(dump(opened(filled)))
    values = load(opened(other), iter(lines), aside=False)
    assert values == len(lines) - 3 == 2 * LINES_PER_REQUEST + 5 + 1 + len(TEXTS)
    assert held(other) == held(filled)


def test_only_buckets_of_ours_are_taken(filled, other):
    opened(filled).put_bucket("somebody's", None)
    load(opened(other), dump(opened(filled)), aside=False)
    assert all(name.startswith("heartguard/") for name in held(other))


def test_what_is_there_is_put_aside_or_refused(filled, other):
    store = InfluxStore(other.url, TOKEN, INFLUXDB_ORG)
    store.put_bucket(ORG, "signals", None)
    store.write(ORG, "signals", [Point("vitals", TAGS, {"value": 1.0}, T0)])
    before = held(other)
    with pytest.raises(StoreError):
        load(opened(other), dump(opened(filled)), aside=False)
    assert held(other) == before
    load(opened(other), dump(opened(filled)), aside=True)
    after = held(other)
    assert {name: after[name] for name in held(filled)} == held(filled)
    ((kept, content),) = ((name, after[name]) for name in after.keys() - held(filled).keys())
    assert kept.startswith("heartguard.replaced-")
    assert content == before[f"heartguard/{ORG}/signals"]
    assert len(store.buckets(ORG)) == 1


@pytest.mark.parametrize("end", [StoreError("gone"), KeyboardInterrupt()])
def test_a_transfer_that_breaks_off_leaves_what_was_there(filled, other, end):
    def broken():
        yield from itertools.islice(dump(opened(filled)), LINES_PER_REQUEST + 100)
        raise end

    InfluxStore(other.url, TOKEN, INFLUXDB_ORG).put_bucket(ORG, "signals", None)
    before = held(other)
    with pytest.raises(type(end)):
        load(opened(other), broken(), aside=True)
    assert held(other) == before


def test_a_server_that_holds_less_than_was_sent_is_found(filled, other):
    lines = list(dump(opened(filled)))
    with pytest.raises(StoreError, match="holds"):
        load(opened(other), [*lines, lines[-1]], aside=False)
    assert held(other) == {}


def test_a_value_of_another_type_stops_it(filled, other):
    lines = list(dump(opened(filled)))
    with pytest.raises(FieldTypeConflict):
        load(opened(other), [*lines, "notes,x=y text=1i 5"], aside=False)
    assert held(other) == {}


def test_a_bucket_that_is_deleted_meanwhile_is_passed_over(filled):
    lines = dump(opened(filled))
    assert next(lines).startswith("# ")
    store = InfluxStore(filled.url, TOKEN, INFLUXDB_ORG)
    for org in (ORG, OTHER_ORG):
        for bucket in store.buckets(org):
            store.delete_bucket(org, bucket.name)
    assert [line for line in lines if not line.startswith("# ")] == []


def test_the_engine_reads_what_arrived(filled, other):
    load(opened(other), dump(opened(filled)), aside=False)
    store = InfluxStore(other.url, TOKEN, INFLUXDB_ORG)
    (segment,) = store.read_samples(ORG, "signals", "ecg", TAGS, 0, MAX_TIME)
    assert list(segment.values) == [0.1 * index for index in range(LINES_PER_REQUEST)]
    assert [
        row.fields["text"] for row in store.query(OTHER_ORG, "signals", "notes", TAGS, 0, MAX_TIME, limit=9)
    ] == TEXTS
