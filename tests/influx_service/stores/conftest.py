"""The engines under contract. A new engine adds its opener here and must pass what stands beside."""

import os

import pytest

from influx_service.stores import SECOND, EmbeddedStore, InfluxStore
from tests.support.influxdb import ORG as INFLUXDB_ORG
from tests.support.influxdb import TOKEN, emulated_influxdb

ORG, OTHER_ORG = "0192aa00-0000-7000-8000-000000000001", "0192aa00-0000-7000-8000-000000000002"
T0 = 1_760_000_000 * SECOND
TAGS = {"patient_id": "p1", "stream_id": "s1"}
REAL_SERVER = os.environ.get("HEARTGUARD_TEST_INFLUXDB_URL")


@pytest.fixture
def influxdb():
    """An empty InfluxDB 2."""
    with emulated_influxdb() as server:
        yield server


def real_store():
    """The engine on the server that the environment names, with a token that may make buckets."""
    organization = os.environ.get("HEARTGUARD_TEST_INFLUXDB_ORG", "heartguard")
    return InfluxStore(REAL_SERVER, os.environ.get("HEARTGUARD_TEST_INFLUXDB_TOKEN", ""), organization)


def forget(store):
    """Take away what the tests' two organisations have on a server that keeps it."""
    for org in (ORG, OTHER_ORG):
        for bucket in store.buckets(org):
            store.delete_bucket(org, bucket.name)


@pytest.fixture(params=["embedded", "influxdb", *(["real server"] if REAL_SERVER else [])])
def open_engine(request, tmp_path):
    """Open the engine under test again and again on the same data."""
    stores = []
    url = request.getfixturevalue("influxdb").url if request.param == "influxdb" else None

    def open_it():
        match request.param:
            case "embedded":
                stores.append(EmbeddedStore(tmp_path / "series.db"))
            case "influxdb":
                stores.append(InfluxStore(url, TOKEN, INFLUXDB_ORG))
            case _:
                stores.append(real_store())
        return stores[-1]

    if request.param == "real server":
        forget(open_it())
    yield open_it
    if request.param == "real server":
        forget(open_it())
    for store in stores:
        store.close()


@pytest.fixture
def store(open_engine):
    """An open engine with bucket "signals" for both organisations."""
    store = open_engine()
    store.put_bucket(ORG, "signals", None)
    store.put_bucket(OTHER_ORG, "signals", None)
    return store
