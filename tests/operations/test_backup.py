"""Back up, destroy, restore, verify: rows, audit trail, time series, files and the login of before are the same."""

from __future__ import annotations

import copy
import io
import json
import os
import secrets
import shutil
import stat
import subprocess
import sys
import tarfile
import time
import urllib.parse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from uuid6 import uuid7

from influx_service.stores import InfluxStore
from ops.backups import archive, make, restore
from ops.backups.places import BackupError, Native
from ops.native import runtime, settings
from ops.native.servers.base import ROOT
from tests.operations.house import Client, House
from tests.support.influxdb import ORG as INFLUXDB_ORG
from tests.support.influxdb import TOKEN, InfluxServer, emulated_influxdb

pytestmark = pytest.mark.usefixtures("operators_shell")

WEB = ("auth", "patient", "influx", "media", "audit")
FILE = b"%PDF-1.4\n" + bytes(range(256)) * 20


def superuser(loaded: settings.Runtime, statement: str) -> str:
    postgres = loaded.server("postgresql")
    assert postgres is not None
    done = subprocess.run(
        ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres"]
        + ["-d", loaded.environment["DATABASE_NAME"], "-c", statement],
        env={**os.environ, "PGPASSWORD": postgres.password},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def rows_of(loaded: settings.Runtime) -> dict[str, int]:
    """How many rows each table has, counted one by one."""
    tables = superuser(
        loaded,
        "SELECT format('SELECT %L, count(*) FROM %I.%I', schemaname || '.' || tablename, schemaname, tablename)"
        " FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    ).splitlines()
    lines = superuser(loaded, " UNION ALL ".join(tables)).splitlines()
    return {name: int(number) for name, number in (line.split("|") for line in lines)}


def await_calm(loaded: settings.Runtime) -> None:
    """Return when every message has been sent and is in the trail."""
    patience = time.monotonic() + 30
    while sum(count for name, count in rows_of(loaded).items() if name.endswith(".outbox")):
        assert time.monotonic() < patience, "the outboxes do not empty"
        time.sleep(0.2)
    time.sleep(1)


def fill(loaded: settings.Runtime, client: Client, org: str) -> dict[str, str]:
    """A patient, a file and samples, each through its service."""
    patient = client.call(
        "patient", "POST", f"/patients?org_id={org}", {"name": "Ana Pérez Gil", "birthdate": "1950-01-02", "sex": "F"}
    )["data"]["id"]
    announced = {"filename": "informe.pdf", "content_type": "application/pdf", "size_bytes": len(FILE)}
    owner = {"owner_kind": "patient", "owner_id": patient}
    link = client.call("media", "POST", f"/media/uploads?org_id={org}", {**announced, **owner})["data"]
    sent = client.pool.request(link["method"], link["url"], body=FILE, headers=link["headers"])
    assert sent.status == 200, sent.data
    client.call("media", "POST", f"/media/{link['id']}/complete?org_id={org}")
    client.call("influx", "POST", f"/timeseries/buckets?org_id={org}", {"name": "heartguard_signals"})
    stream = str(uuid7())
    superuser(
        loaded,
        "INSERT INTO influx.stream_bindings (id, org_id, stream_id, device_id, patient_id, signal_type,"
        " channel, unit, sample_rate_hz, bucket, measurement, tags, started_at)"
        f" VALUES ('{uuid7()}', '{org}', '{stream}', '{uuid7()}', '{patient}', 'SpO2', '', '%', 1,"
        " 'heartguard_signals', 'spo2', '{}', '2026-01-01T00:00:00Z')",
    )
    body = {"stream_id": stream, "started_at": "2026-01-01T00:00:00Z", "values": [97.0, 96.5, 95.0] * 40}
    client.call("influx", "POST", f"/timeseries/write?org_id={org}", body)
    return {"patient": patient, "media": link["id"], "stream": stream}


def seen(client: Client, org: str, ids: dict[str, str]) -> dict[str, Any]:
    """What a client gets to see of it."""
    window = {"stream_id": ids["stream"], "start": "2026-01-01T00:00:00Z", "stop": "2026-01-01T00:02:00Z"}
    asked = urllib.parse.urlencode({**window, "form": "samples", "org_id": org})
    headers = {"Authorization": f"Bearer {client.token}"}
    url = f"{client.suite.url('media')}/media/{ids['media']}/download?org_id={org}"
    sent_to = client.pool.request("GET", url, headers=headers, redirect=False)
    file = client.pool.request("GET", sent_to.headers["Location"])
    return {
        "patient": client.call("patient", "GET", f"/patients/{ids['patient']}?org_id={org}"),
        "series": client.call("influx", "GET", f"/timeseries/query?{asked}"),
        "file": (file.status, file.headers["Content-Type"], file.data),
    }


def test_back_up_destroy_restore_verify(house: House) -> None:
    key = house.folder / "backup.key"
    key.write_text(secrets.token_hex(32))
    sealed = {"BACKUP_KEY_FILE": str(key)}
    org = str(uuid7())
    with house.servers() as loaded:
        password = runtime.first_login(loaded).rpartition(" ")[2]
        with house.services(loaded, WEB, workers=WEB) as suite:
            client = Client(suite, password)
            ids = fill(loaded, client, org)
            before = seen(client, org, ids)
            assert before["file"] == (200, "application/pdf", FILE)
            running = house.run("backup.sh", "--native", "--with-env", **sealed)
            assert running.returncode == 0, running.stdout + running.stderr
            await_calm(loaded)
        calm = rows_of(loaded)
        made = house.run("backup.sh", "--native", "--with-env", "--keep", "1", **sealed)
        assert made.returncode == 0, made.stdout + made.stderr
        assert "Deleted heartguard-" in made.stdout
    assert calm["audit.audit_logs"] > 5

    (backup,) = archive.backups(house.folder / "backups")
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in backup.iterdir())
    assert stat.S_IMODE(backup.stat().st_mode) == 0o700
    assert all(path.suffix == ".gpg" and "Pérez Gil".encode() not in path.read_bytes() for path in backup.iterdir())

    shutil.rmtree(house.folder / "state")
    (house.folder / ".env").unlink()

    unreadable = house.run("restore.sh", "--native")
    assert unreadable.returncode == 1
    assert "BACKUP_KEY_FILE" in unreadable.stderr
    restored = house.run("restore.sh", "--native", **sealed)
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert f"audit chain    whole, {calm['audit.audit_logs']} rows" in restored.stdout

    with house.servers() as loaded:
        assert rows_of(loaded) == calm
        assert "there is a superadmin" not in runtime.first_login(loaded)  # which says so on its error stream
        with house.services(loaded, WEB) as suite:
            client = Client(suite, password)
            assert seen(client, org, ids) == before
            walk = client.call("audit", "GET", "/audit/verify")["data"]
            assert walk["state"] == "whole"
            assert walk["last_sequence"] >= calm["audit.audit_logs"]

    again = house.run("restore.sh", "--native", **sealed)
    assert again.returncode == 1
    assert "not empty" in again.stderr


def points_of(server: InfluxServer) -> Any:
    """Retention and values of each bucket by name."""
    return {bucket["name"]: (bucket["retentionRules"], server.series[key]) for key, bucket in server.buckets.items()}


def test_time_series_in_influxdb_are_packed_and_come_back(house: House, tmp_path: Path) -> None:
    key = house.folder / "backup.key"
    key.write_text(secrets.token_hex(32))
    seal, org = archive.Seal(key), str(uuid7())
    settings.make_env(house.folder / ".env")
    with emulated_influxdb() as server, house.entered(), pytest.MonkeyPatch.context() as patch:
        for name, value in {"URL": server.url, "TOKEN": TOKEN, "ORG": INFLUXDB_ORG}.items():
            patch.setenv(f"INFLUXDB_{name}", value)
        patch.setenv("BACKUP_KEY_FILE", str(key))
        store = InfluxStore(server.url, TOKEN, INFLUXDB_ORG)
        store.put_bucket(org, "heartguard_signals", 86_400)
        store.write_samples(
            org, "heartguard_signals", "ecg", {"patient_id": "Ana Paula"}, 10**18, 250, [0.1, -0.25] * 4000
        )
        before = copy.deepcopy(points_of(server))
        place = Native()
        manifest = {"timeseries": make.pack(place, tmp_path, "timeseries", seal)}
        assert manifest == {"timeseries": {"values": 16_000}}
        (packed,) = tmp_path.iterdir()
        assert packed.name == "timeseries.lines.gz.gpg"
        assert b"Ana Paula" not in packed.read_bytes()
        restore.check_engine(place, tmp_path, manifest)

        with pytest.raises(BackupError, match="buckets of ours"):
            restore.unpack(place, tmp_path, "timeseries", manifest, aside=False)
        store.delete_bucket(org, "heartguard_signals")
        assert restore.count(place, "timeseries") == 0
        restore.unpack(place, tmp_path, "timeseries", manifest, aside=False)
        assert points_of(server) == before
        assert restore.count(place, "timeseries") == 1

        with pytest.raises(BackupError, match="not those of the backup"):
            restore.unpack(place, tmp_path, "timeseries", {"timeseries": {"values": 1}}, aside=True)
        patch.setenv("INFLUXDB_TOKEN", "another")
        with pytest.raises(BackupError, match="InfluxDB: the server answered 401"):
            make.pack(Native(), tmp_path, "timeseries", seal)
        patch.delenv("INFLUXDB_URL")
        with pytest.raises(BackupError, match="the other engine"):
            restore.check_engine(Native(), tmp_path, manifest)


NOW = datetime(2026, 3, 1, tzinfo=UTC)
ENTRY = {"rows": {}, "files": {}}


def whole(target: Path, when: datetime) -> Path:
    """A whole backup of one file."""
    with archive.new_backup(target, when) as folder:
        (folder / "a.dump").write_bytes(b"rows")
        files = {"a.dump": {"bytes": 4, "sha256": archive.digest(folder / "a.dump")}}
        archive.write_text(folder / archive.MANIFEST, json.dumps({**ENTRY, "files": files}), archive.Seal())
    return archive.backups(target)[-1]


def test_old_backups_go_and_the_newest_never_does(tmp_path: Path) -> None:
    for days in (40, 30, 20, 10):
        whole(tmp_path, NOW - timedelta(days=days))
    (tmp_path / "other").mkdir()
    assert len(archive.expire(tmp_path, 3, None, NOW)) == 1
    assert len(archive.expire(tmp_path, None, 15, NOW)) == 2
    assert archive.expire(tmp_path, 1, 1, NOW) == []
    assert [path.name for path in archive.backups(tmp_path)] == ["heartguard-20260219T000000Z"]
    assert (tmp_path / "other").exists()


def test_a_failed_backup_leaves_nothing_and_costs_no_older_one(house: House, tmp_path: Path) -> None:
    older = whole(tmp_path, NOW)
    settings.make_env(house.folder / ".env")
    failed = house.run("backup.sh", "--native", "--to", str(tmp_path), "--keep", "1")  # no server runs here
    assert failed.returncode == 1
    assert "PostgreSQL" in failed.stderr
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [older]


def test_two_backups_do_not_run_at_once(house: House, tmp_path: Path) -> None:
    settings.make_env(house.folder / ".env")
    with archive.only_one(tmp_path):
        refused = house.run("backup.sh", "--native", "--to", str(tmp_path))
    assert refused.returncode == 1
    assert "under way" in refused.stderr


def test_a_changed_or_missing_file_is_found(house: House, tmp_path: Path) -> None:
    backup = whole(tmp_path, NOW)
    assert house.run("backup.sh", "--list", "--to", str(tmp_path)).returncode == 0
    (backup / "a.dump").write_bytes(b"r0ws")
    damaged = house.run("backup.sh", "--list", "--to", str(tmp_path))
    assert damaged.returncode == 1
    assert "a.dump" in damaged.stdout
    (backup / "a.dump").unlink()
    with pytest.raises(BackupError, match="damaged"):
        archive.check(backup, archive.manifest_of(backup))


def test_what_is_sealed_opens_with_its_key_alone_and_only_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, wrong, stored = tmp_path / "right", tmp_path / "wrong", tmp_path / "text.gpg"
    right.write_text(secrets.token_hex(32))
    wrong.write_text(secrets.token_hex(32))
    archive.write_text(stored, "secret " * 100, archive.Seal(right))
    monkeypatch.setenv("BACKUP_KEY_FILE", str(wrong))
    with pytest.raises(BackupError, match="gpg failed"):
        archive.read(stored)
    monkeypatch.setenv("BACKUP_KEY_FILE", str(right))
    assert archive.read(stored) == b"secret " * 100
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    with pytest.raises(BackupError, match="gpg failed"):
        archive.read(stored)


def test_a_short_key_and_open_secrets_are_refused(house: House, tmp_path: Path) -> None:
    settings.make_env(house.folder / ".env")
    (tmp_path / "key").write_text("password")
    short = house.run("backup.sh", "--native", BACKUP_KEY_FILE=str(tmp_path / "key"))
    assert (short.returncode, "openssl rand" in short.stderr) == (1, True)
    bare = house.run("backup.sh", "--native", "--with-env")
    assert (bare.returncode, "BACKUP_KEY_FILE" in bare.stderr) == (1, True)


def test_keys_that_only_the_old_env_had_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    old = {"AUTH_SECRET_KEYS": f"s1:{secrets.token_hex(20)}", "AUDIT_SIGNING_KEY": f"a1:{secrets.token_hex(20)}"}
    manifest = {"keys": {name: make.marks(old, name) for name in make.LASTING_KEYS}}
    assert not any(secret.partition(":")[2] in json.dumps(manifest) for secret in old.values())
    restore.check_keys(manifest, old, accept=False)
    rotated = {**old, "AUDIT_SIGNING_KEY": f"a2:{secrets.token_hex(20)},{old['AUDIT_SIGNING_KEY']}"}
    restore.check_keys(manifest, rotated, accept=False)
    other = {**old, "AUTH_SECRET_KEYS": f"s1:{secrets.token_hex(20)}"}
    with pytest.raises(BackupError, match="AUTH_SECRET_KEYS: s1"):
        restore.check_keys(manifest, other, accept=False)
    restore.check_keys(manifest, other, accept=True)
    assert "AUTH_SECRET_KEYS: s1" in capsys.readouterr().out


def test_a_backup_of_newer_code_is_refused() -> None:
    restore.check_migrations({"migrations": {"patient": "0001"}})
    with pytest.raises(BackupError, match="patient 9999"):
        restore.check_migrations({"migrations": {"patient": "9999"}})


def test_unpacking_writes_nowhere_else(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("../outside.jsonl"))
    done = subprocess.run(
        [sys.executable, ROOT / "ops/backups/volume.py", "unpack", "audit-heads"],
        env={**os.environ, "AUDIT_HEAD_FOLDER": str(tmp_path / "heads")},
        input=buffer.getvalue(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert not (tmp_path / "outside.jsonl").exists()
    assert list((tmp_path / "heads").iterdir()) == []
