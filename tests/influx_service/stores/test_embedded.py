"""What holds for the embedded engine alone: its file, its bounds, what erasure leaves behind."""

import sqlite3
import stat

import pytest

from influx_service.stores import EmbeddedStore, Point, QueryTooLarge, StoreUnavailable, points, sqlite

from .conftest import ORG, T0, TAGS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "series.db"


@pytest.fixture
def store(path):
    store = EmbeddedStore(path)
    store.put_bucket(ORG, "signals", None)
    yield store
    store.close()


def test_only_the_owner_may_read_the_files(store, path):
    store.write(ORG, "signals", [Point("vitals", TAGS, {"value": 1.0}, T0)])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"series.db": 0o600, "series.db-wal": 0o600, "series.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_acknowledged_writes_are_synced(path, store):
    with store._file.writing() as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_erasure_leaves_no_trace_in_the_files(store, path):
    secret = "paciente-a-borrar"
    store.write(ORG, "signals", [Point("notes", {"patient_id": secret}, {"text": secret * 50}, T0)])
    store.write_samples(ORG, "signals", "ecg", {"patient_id": secret}, T0, 250, [1 / 3] * 5000)
    store.delete(ORG, {"patient_id": secret})
    for file in path.parent.iterdir():
        assert secret.encode() not in file.read_bytes()


def test_space_returns_to_the_disk(store, path):
    noise = [hash((index, "noise")) / 7 for index in range(500_000)]
    store.write_samples(ORG, "signals", "ecg", TAGS, T0, 250, noise)
    store.delete(ORG, {"patient_id": "p1"}, T0, T0 + 1)  # empties the log into the file
    full = path.stat().st_size
    store.delete(ORG, TAGS)
    assert full > 2_000_000
    assert path.stat().st_size < full / 10


def test_expired_series_forget_their_tags(store):
    store.put_bucket(ORG, "signals", 3600)
    store.write(ORG, "signals", [Point("vitals", TAGS, {"value": 1.0}, T0)])
    store.expire(T0 + 3601 * 10**9)
    with store._file.reading() as db:
        assert db.execute("SELECT count(*) FROM series").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM series_tag").fetchone() == (0,)


def test_a_read_that_takes_too_long_is_stopped(store, monkeypatch):
    store.write_samples(ORG, "signals", "ecg", TAGS, T0, 250, range(100_000))
    store.write(ORG, "signals", [Point("vitals", TAGS, {"value": float(i)}, T0 + i) for i in range(20_000)])
    monkeypatch.setattr(sqlite, "READ_SECONDS", 0.0)
    window = (ORG, "signals", "ecg", TAGS, T0, T0 + 10**12)
    with pytest.raises(QueryTooLarge):
        store.read_samples(*window)
    with pytest.raises(QueryTooLarge):
        store.query(ORG, "signals", "vitals", TAGS, T0, T0 + 10**12, aggregate="mean", limit=1)
    monkeypatch.undo()
    assert len(store.read_samples(*window)) == 1


def test_a_read_of_too_many_samples_is_refused(store, monkeypatch):
    store.write_samples(ORG, "signals", "ecg", TAGS, T0, 250, range(1000))
    monkeypatch.setattr(points, "MAX_SAMPLES_PER_READ", 999)
    with pytest.raises(QueryTooLarge):
        store.read_samples(ORG, "signals", "ecg", TAGS, T0, T0 + 10**12)


def test_a_failed_write_leaves_nothing_and_the_store_usable(store):
    with pytest.raises(ZeroDivisionError), store._file.writing() as db:
        db.execute("DELETE FROM bucket")
        1 / 0  # noqa: B018
    assert [bucket.name for bucket in store.buckets(ORG)] == ["signals"]


def test_a_busy_file_is_unavailable_not_broken(store, path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_MS", 50)
    store.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="BUSY"):
        store.write(ORG, "signals", [Point("vitals", TAGS, {"value": 1.0}, T0)])
    assert store.ping()
    other.execute("ROLLBACK")
    other.close()
    store.write(ORG, "signals", [Point("vitals", TAGS, {"value": 1.0}, T0)])


def test_a_damaged_block_is_reported(store):
    store.write_samples(ORG, "signals", "ecg", TAGS, T0, 250, range(100))
    with store._file.writing() as db:
        db.execute("UPDATE block SET data = substr(data, 1, 24)")
    with pytest.raises(StoreUnavailable, match="damaged"):
        store.read_samples(ORG, "signals", "ecg", TAGS, T0, T0 + 10**9)


def test_a_file_that_is_no_database_is_reported(tmp_path):
    (tmp_path / "series.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreUnavailable, match="damaged"):
        EmbeddedStore(tmp_path / "series.db")


def test_a_file_of_a_newer_version_is_left_alone(store, path):
    with store._file.writing() as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreUnavailable, match="newer"):
        EmbeddedStore(path)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot open"):
        EmbeddedStore(tmp_path / "file" / "series.db")


def test_ping_tells_when_the_file_is_gone_bad(store, path):
    assert store.ping() is True
    store.close()
    path.write_bytes(b"x" * 100_000)
    assert store.ping() is False
