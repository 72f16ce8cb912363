"""What every engine promises when processes die or work at once: what it acknowledged is there afterwards."""

import subprocess
import sys
import time

import pytest

from .conftest import ENGINES, ORG, T0, TAGS

WRITER = """
import sys
from pathlib import Path
from influx_service.stores import Point
from tests.influx_service.stores.conftest import ENGINES, ORG, T0
engine, folder, name = sys.argv[1:]
store = ENGINES[engine](Path(folder))
store.put_bucket(ORG, "signals", None)
tags = {"patient_id": "p1", "stream_id": name}
for number in range(100_000):
    store.write(ORG, "signals", [Point("vitals", tags, {"value": float(number)}, T0 + number)])
    store.write_samples(ORG, "signals", "ecg", tags, T0 + number * 10**9, 250, [float(number)] * 250)
    print(number, flush=True)
"""


def start_writer(engine, folder, name):
    return subprocess.Popen([sys.executable, "-c", WRITER, engine, str(folder), name], stdout=subprocess.PIPE)


def assert_stored(store, name, least):
    """Check that the writer's points and samples are whole: what was acknowledged, at most one write more."""
    tags = {**TAGS, "stream_id": name}
    rows = store.query(ORG, "signals", "vitals", tags, T0, T0 + 10**9, limit=100_000)
    assert [row.fields["value"] for row in rows] == [float(number) for number in range(len(rows))]
    segments = store.read_samples(ORG, "signals", "ecg", tags, T0, T0 + len(rows) * 10**9 + 1)
    values = [value for segment in segments for value in segment.values]
    assert values == [float(number) for number in range(len(values) // 250) for _ in range(250)]
    assert least <= len(values) // 250 <= len(rows) <= least + 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("delay", [0.05, 0.2, 0.4])
def test_kill_9_loses_nothing_acknowledged(engine, delay, tmp_path):
    process = start_writer(engine, tmp_path, "s1")
    process.stdout.readline()
    time.sleep(delay)
    process.kill()
    process.wait()
    with process.stdout:
        lines = process.stdout.read().split(b"\n")[:-1]
    assert lines, "the writer was killed before its second write"
    store = ENGINES[engine](tmp_path)
    try:
        assert_stored(store, "s1", least=1 + len(lines))
    finally:
        store.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_processes_write_and_read_at_once(engine, tmp_path):
    names = ["s1", "s2", "s3"]
    processes = [start_writer(engine, tmp_path, name) for name in names]
    store = ENGINES[engine](tmp_path)
    try:
        for process in processes:
            process.stdout.readline()
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            assert len(store.latest(ORG, "signals", "vitals", {"patient_id": "p1"})) == 3
        done = {}
        for name, process in zip(names, processes, strict=True):
            assert process.poll() is None, "a writer failed"
            process.kill()
            process.wait()
            with process.stdout:
                done[name] = 1 + process.stdout.read().count(b"\n")
        for name in names:
            assert done[name] > 10
            assert_stored(store, name, least=done[name])
    finally:
        store.close()
