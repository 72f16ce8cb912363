"""The engines under contract. A new engine adds its opener here and must pass what stands beside."""

import pytest

from influx_service.stores import SECOND, EmbeddedStore, InfluxStore
from tests.support.influxdb import ORG as INFLUXDB_ORG
from tests.support.influxdb import TOKEN, emulated_influxdb

ENGINES = {"embedded": lambda folder: EmbeddedStore(folder / "series.db")}

ORG, OTHER_ORG = "0192aa00-0000-7000-8000-000000000001", "0192aa00-0000-7000-8000-000000000002"
T0 = 1_760_000_000 * SECOND
TAGS = {"patient_id": "p1", "stream_id": "s1"}


@pytest.fixture
def influxdb():
    """An empty InfluxDB 2."""
    with emulated_influxdb() as server:
        yield server


@pytest.fixture(params=[*ENGINES, "influxdb"])
def open_engine(request, tmp_path):
    """Open the engine under test again and again on the same data."""
    stores = []
    url = None if request.param in ENGINES else request.getfixturevalue("influxdb").url

    def open_it():
        stores.append(InfluxStore(url, TOKEN, INFLUXDB_ORG) if url else ENGINES[request.param](tmp_path))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(open_engine):
    """An open engine with bucket "signals" for both organisations."""
    store = open_engine()
    store.put_bucket(ORG, "signals", None)
    store.put_bucket(OTHER_ORG, "signals", None)
    return store
