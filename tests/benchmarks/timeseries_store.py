"""How fast the embedded time-series engine is and how little a waveform costs; run it as a module."""

from __future__ import annotations

import math
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from influx_service.plot import strip_svg
from influx_service.stores import SECOND, EmbeddedStore, Point
from tests.benchmarks.results import write_section

ORG, BUCKET, T0 = "benchmark", "signals", 1_760_000_000 * SECOND
RATE = 360


def ecg(seconds: int) -> list[float]:
    """Something like a one-lead ECG from a converter of 200 steps a millivolt, noise included."""
    noise = random.Random(208)
    return [
        round((math.exp(-((((i / RATE) % 0.8 - 0.3) * 40) ** 2)) + noise.gauss(0, 0.02)) * 200) / 200
        for i in range(seconds * RATE)
    ]


def milliseconds(call: Callable[[], object], times: int) -> tuple[float, float]:
    """Median and 99th percentile of one call."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken), statistics.quantiles(taken, n=100)[98]


def main() -> None:
    """Measure and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.db"
        store = EmbeddedStore(path)
        store.put_bucket(ORG, BUCKET, None)
        rows: list[tuple[str, str]] = []
        next_second, second = count(), ecg(1)

        def put_second(stream: str = "s1", numbers: count = next_second) -> None:
            start = T0 + next(numbers) * SECOND
            store.write_samples(ORG, BUCKET, "ecg", {"stream_id": stream}, start, RATE, second)

        def put_points(size: int, numbers: count = count()) -> None:  # noqa: B008
            start = T0 + next(numbers) * size * SECOND
            tags = {"stream_id": f"p{size}"}
            store.write(ORG, BUCKET, [Point("hr", tags, {"value": 70.5}, start + i * SECOND) for i in range(size)])

        median, late = milliseconds(lambda: put_points(1), 500)
        rows.append(("one point a write", f"{1000 / median:,.0f} points/s, p50 {median:.2f} ms, p99 {late:.2f} ms"))
        median, late = milliseconds(lambda: put_points(1000), 30)
        rows.append(("1,000 points a write", f"{1e6 / median:,.0f} points/s, p50 {median:.1f} ms"))
        median, late = milliseconds(put_second, 600)
        rows.append(
            (
                "1 s of ECG at 360 Hz a write",
                f"{RATE * 1000 / median:,.0f} samples/s ({1000 / median:,.0f} streams in real time),"
                f" p50 {median:.2f} ms, p99 {late:.2f} ms",
            )
        )
        minute = ecg(60)
        starts = count(T0, 60 * SECOND)
        median, _ = milliseconds(
            lambda: store.write_samples(ORG, BUCKET, "ecg", {"stream_id": "long"}, next(starts), RATE, minute), 20
        )
        rows.append(("60 s of ECG a write", f"{len(minute) * 1000 / median:,.0f} samples/s, p50 {median:.1f} ms"))

        def write_second_by_second(name: str) -> None:
            numbers = count()
            for _ in range(150):
                put_second(name, numbers)

        threads = [threading.Thread(target=write_second_by_second, args=(f"t{number}",)) for number in range(8)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = 8 * 150 / (time.perf_counter() - begun)
        rows.append(("the same from 8 threads", f"{rate * RATE:,.0f} samples/s ({rate:,.0f} streams in real time)"))
        for name, stream in (("from 1 s blocks", "s1"), ("from long blocks", "long")):
            start = T0 + 100 * SECOND
            window = (ORG, BUCKET, "ecg", {"stream_id": stream}, start, start + 30 * SECOND)
            ((found),) = store.read_samples(*window)
            assert len(found.values) == 30 * RATE
            median, late = milliseconds(lambda window=window: store.read_samples(*window), 200)
            rows.append((f"read 30 s at 360 Hz {name}", f"p50 {median:.2f} ms, p99 {late:.2f} ms"))
        median, _ = milliseconds(
            lambda: store.query(
                ORG,
                BUCKET,
                "ecg",
                {"stream_id": "s1"},
                T0,
                T0 + 600 * SECOND,
                aggregate="mean",
                every=SECOND,
                limit=600,
            ),
            20,
        )
        rows.append(("mean of each second over 10 min of ECG", f"p50 {median:.1f} ms"))
        median, _ = milliseconds(lambda: strip_svg(found.values, RATE, "mV", T0), 10)
        rows.append(("draw 30 s of ECG as SVG", f"p50 {median:.1f} ms"))
        with store._file.reading() as db:
            bytes_of, samples = db.execute(
                "SELECT sum(length(data)), sum(count) FROM block JOIN series ON series.id = series_id"
                " WHERE tags LIKE '%\"s1\"%'"
            ).fetchone()
        rows.append(("an ECG sample in 1 s blocks", f"{bytes_of / samples:.2f} bytes (8 as a double)"))
        store.close()
    table = "\n".join(("| what | measured |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows)))
    write_section(
        "Embedded time-series store",
        f"One SQLite file, WAL, synchronous=FULL: each write is on the disk before it is acknowledged.\n\n{table}",
    )
    print(table)


if __name__ == "__main__":
    main()
