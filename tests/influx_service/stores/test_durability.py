"""What the embedded engine promises when processes die or work at once: what it acknowledged is there afterwards."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager

import pytest

from influx_service.stores import EmbeddedStore

from .conftest import ORG, T0, TAGS

WRITER = """
import sys
from pathlib import Path
from influx_service.stores import EmbeddedStore, Point, StoreUnavailable
from tests.influx_service.stores.conftest import ORG, T0

def surely(call, *arguments):
    while True:
        try:
            return call(*arguments)
        except StoreUnavailable:  # busy: nothing was acknowledged, so say it again, as a client would
            continue

path, name = sys.argv[1:]
store = surely(EmbeddedStore, Path(path))
surely(store.put_bucket, ORG, "signals", None)
tags = {"patient_id": "p1", "stream_id": name}
for number in range(100_000):
    surely(store.write, ORG, "signals", [Point("vitals", tags, {"value": float(number)}, T0 + number)])
    surely(store.write_samples, ORG, "signals", "ecg", tags, T0 + number * 10**9, 250, [float(number)] * 250)
    print(number, flush=True)
"""


class Writer:
    """A process that writes without pause and says the number of each write that was acknowledged."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        self.process, self.name, self.acknowledged = process, name, 0

    def wait_for(self, number: int) -> None:
        """Return when this many more writes were acknowledged."""
        for _ in range(number):
            assert self.process.stdout.readline() == b"%d\n" % self.acknowledged
            self.acknowledged += 1

    def kill(self) -> None:
        """Kill it with signal 9, and read what it managed to say."""
        self.process.kill()
        self.process.wait()
        self.acknowledged += self.process.stdout.read().count(b"\n")


@contextmanager
def writer(path, name):
    command = [sys.executable, "-c", WRITER, str(path), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield Writer(process, name)
        finally:
            process.kill()


def assert_stored(store, name, acknowledged):
    """Check that the writer's points and samples are whole: what was acknowledged, at most one write more."""
    tags = {**TAGS, "stream_id": name}
    rows = store.query(ORG, "signals", "vitals", tags, T0, T0 + 10**9, limit=100_000)
    assert [row.fields["value"] for row in rows] == [float(number) for number in range(len(rows))]
    segments = store.read_samples(ORG, "signals", "ecg", tags, T0, T0 + len(rows) * 10**9 + 1)
    values = [value for segment in segments for value in segment.values]
    assert values == [float(number) for number in range(len(values) // 250) for _ in range(250)]
    assert acknowledged <= len(values) // 250 <= len(rows) <= acknowledged + 1


@pytest.mark.parametrize("writes", [1, 20, 150])
def test_kill_9_loses_nothing_acknowledged(writes, tmp_path):
    with writer(tmp_path / "series.db", "s1") as process:
        process.wait_for(writes)
        process.kill()
    with closing(EmbeddedStore(tmp_path / "series.db")) as store:
        assert_stored(store, "s1", process.acknowledged)


def test_processes_write_and_read_at_once(tmp_path):
    with ExitStack() as stack:
        writers = [stack.enter_context(writer(tmp_path / "series.db", name)) for name in ("s1", "s2", "s3")]
        store = stack.enter_context(closing(EmbeddedStore(tmp_path / "series.db")))
        for process in writers:
            process.wait_for(1)
        for _ in range(20):
            assert len(store.latest(ORG, "signals", "vitals", {"patient_id": "p1"})) == 3
            for process in writers:
                process.wait_for(1)
        for process in writers:
            process.kill()
        for process in writers:
            assert_stored(store, process.name, process.acknowledged)
