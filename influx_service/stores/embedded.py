"""The embedded engine: one SQLite file, shared by the threads and processes of one machine."""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from . import points as p
from . import tables as t
from .points import Aggregate, Bucket, Point, QueryTooLarge, Row, Segment, StoreUnavailable
from .sqlite import SqliteFile
from .waveform import CHUNK_SAMPLES, encode, half_period, sample_time

DELETE_BATCH = 5_000


class EmbeddedStore:
    """Time series in one local file. Safe for threads; open it after forking, one store per process."""

    def __init__(self, path: str | Path) -> None:
        """Open or create the file; raises StoreUnavailable."""
        self._file = SqliteFile(path)

    # Buckets

    def put_bucket(self, org_id: str, name: str, retention: int | None) -> None:
        """Create a bucket, or change how many seconds it keeps (None: for ever)."""
        p.checked_tags(org_id, {})
        with self._file.writing() as db:
            db.execute(
                "INSERT INTO bucket (org_id, name, retention) VALUES (?, ?, ?)"
                " ON CONFLICT (org_id, name) DO UPDATE SET retention = excluded.retention",
                (org_id, p.checked_name(name, "bucket"), p.checked_retention(retention)),
            )

    def buckets(self, org_id: str) -> list[Bucket]:
        """List the organisation's buckets by name."""
        with self._file.reading() as db:
            rows = db.execute("SELECT name, retention FROM bucket WHERE org_id = ? ORDER BY name", (org_id,))
            return [Bucket(*row) for row in rows]

    def delete_bucket(self, org_id: str, name: str) -> None:
        """Delete a bucket and all it holds, in bounded steps; raises BucketNotFound."""
        with self._file.reading() as db:
            bucket = t.get_bucket(db, org_id, name)
            series = [row[0] for row in db.execute("SELECT id FROM series WHERE bucket_id = ?", (bucket,))]
        self._delete_series(series)
        with self._file.writing() as db:
            db.execute("DELETE FROM bucket WHERE id = ?", (bucket,))
        self._file.shrink()

    # Writes

    def write(self, org_id: str, bucket: str, points: Sequence[Point]) -> None:
        """Store points durably, all or none; the same series, time and field again overwrites.

        Raises InvalidData, FieldTypeConflict, BucketNotFound, StoreUnavailable.
        """
        points = p.checked_points(org_id, points)
        with self._file.writing() as db:
            bucket_id = t.get_bucket(db, org_id, bucket)
            series: dict[tuple[str, str], int] = {}
            fields: dict[tuple[str, str], tuple[int, str]] = {}
            db.executemany(
                "INSERT INTO point (series_id, time, field_id, value) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (series_id, time, field_id) DO UPDATE SET value = excluded.value",
                t.cells_of(db, bucket_id, points, series, fields),
            )

    def write_samples(
        self,
        org_id: str,
        bucket: str,
        measurement: str,
        tags: Mapping[str, str],
        started_at: int,
        sample_rate_hz: float,
        values: Iterable[float],
    ) -> None:
        """Store evenly spaced samples durably, without loss; they replace the samples that their span held.

        Sample i was taken at started_at + i / sample_rate_hz; less than half a period apart is one instant.
        Raises InvalidData, BucketNotFound, StoreUnavailable.
        """
        tags, rate, samples, end = p.checked_run(org_id, measurement, tags, started_at, sample_rate_hz, values)
        blocks = [
            (sample_time(started_at, index, rate), rate, samples[index : index + CHUNK_SAMPLES])
            for index in range(0, len(samples), CHUNK_SAMPLES)
        ]
        encoded = [(start, rate, len(chunk), encode(chunk)) for start, rate, chunk in blocks]
        half = half_period(rate)
        with self._file.writing() as db:
            series = t.put_series(db, t.get_bucket(db, org_id, bucket), measurement, tags)
            t.clear_samples(db, series, started_at - half, end - half)
            for block in encoded:
                t.insert_block(db, series, *block)

    # Reads

    def query(
        self,
        org_id: str,
        bucket: str,
        measurement: str,
        tags: Mapping[str, str],
        start: int,
        stop: int,
        *,
        fields: Sequence[str] | None = None,
        aggregate: Aggregate | None = None,
        every: int | None = None,
        limit: int,
    ) -> list[Row]:
        """Return at most `limit` rows of the series with these tags, by time; samples are field "value".

        An aggregate gives a row per series and window of `every` ns (multiples since 1970, so independent of
        daylight saving; empty windows are left out), or one row at `start` when `every` is None.
        Raises InvalidData, QueryTooLarge, BucketNotFound, StoreUnavailable.
        """
        p.checked_window(start, stop)
        p.checked_limit(limit)
        p.checked_aggregate(aggregate, every, start, stop)
        with self._file.reading() as db:
            bucket_id = t.get_bucket(db, org_id, bucket)
            series = t.find_series(db, bucket_id, measurement, p.checked_tags(org_id, tags))
            wanted = t.find_fields(db, bucket_id, measurement, fields, numeric=aggregate in ("mean", "min", "max"))
            samples = fields is None or p.SAMPLE_FIELD in fields
            streams = [
                t.read_aggregates(db, id, wanted, samples, start, stop, t.FOLDS[aggregate], every)
                if aggregate
                else t.read_values(db, id, wanted, samples, start, stop)
                for id in series
            ]
            rows: list[Row] = []
            for (time, series_id), group in groupby(heapq.merge(*streams, key=t.instant_of), key=t.instant_of):
                rows.append(Row(time, series[series_id], {name: value for _, _, name, value in group}))
                if len(rows) == limit:
                    break
            return rows

    def read_samples(
        self, org_id: str, bucket: str, measurement: str, tags: Mapping[str, str], start: int, stop: int
    ) -> list[Segment]:
        """Return the samples in [start, stop), a segment per unbroken stretch, by series and time.

        Blocks join into one segment while their clocks agree within half a sample, so what lies between two
        segments is a gap. Raises InvalidData, QueryTooLarge, BucketNotFound, StoreUnavailable.
        """
        p.checked_window(start, stop)
        segments: list[Segment] = []
        total = 0
        with self._file.reading() as db:
            found = t.find_series(db, t.get_bucket(db, org_id, bucket), measurement, p.checked_tags(org_id, tags))
            for series_id, series_tags in found.items():
                current: tuple[int, int, Segment] | None = None  # start and rate of the grid, what is on it so far
                for block in t.find_blocks(db, series_id, start, stop):
                    first, end = block.span(start, stop)
                    if first == end:
                        continue
                    total += end - first
                    if total > p.MAX_SAMPLES_PER_READ:
                        raise QueryTooLarge(f"more than {p.MAX_SAMPLES_PER_READ} samples")
                    values = t.read_block(db, block)[first:end]
                    began = sample_time(block.start, first, block.rate)
                    if current and current[1] == block.rate:
                        expected = sample_time(current[0], len(current[2].values), block.rate)
                        if abs(began - expected) <= half_period(block.rate):
                            current[2].values.extend(values)
                            continue
                    current = (began, block.rate, Segment(began, block.rate / 1000, values, series_tags))
                    segments.append(current[2])
        return segments

    def latest(
        self,
        org_id: str,
        bucket: str,
        measurement: str,
        tags: Mapping[str, str],
        *,
        fields: Sequence[str] | None = None,
    ) -> list[Row]:
        """Return the newest value of each field of each series that carries these tags, by time."""
        cells: list[t.Cell] = []
        with self._file.reading() as db:
            bucket_id = t.get_bucket(db, org_id, bucket)
            series = t.find_series(db, bucket_id, measurement, p.checked_tags(org_id, tags))
            wanted = t.find_fields(db, bucket_id, measurement, fields)
            for series_id in series:
                newest: dict[str, t.Cell] = {}
                for field_id, (name, kind) in wanted.items():
                    row = db.execute(
                        "SELECT time, value FROM point WHERE series_id = ? AND field_id = ? ORDER BY time DESC LIMIT 1",
                        (series_id, field_id),
                    ).fetchone()
                    if row:
                        newest[name] = (row[0], series_id, name, t.typed(row[1], kind))
                block = t.find_newest_block(db, series_id) if fields is None or p.SAMPLE_FIELD in fields else None
                if block:
                    time = sample_time(block.start, block.length - 1, block.rate)
                    if time > newest.get(p.SAMPLE_FIELD, (-1,))[0]:
                        newest[p.SAMPLE_FIELD] = (
                            time,
                            series_id,
                            p.SAMPLE_FIELD,
                            t.read_block(db, block)[-1],
                        )
                cells.extend(newest.values())
        cells.sort(key=t.instant_of)
        return [
            Row(time, series[series_id], {name: value for _, _, name, value in group})
            for (time, series_id), group in groupby(cells, key=t.instant_of)
        ]

    # Erasure and retention

    def delete(
        self,
        org_id: str,
        tags: Mapping[str, str],
        start: int | None = None,
        stop: int | None = None,
        *,
        bucket: str | None = None,
    ) -> None:
        """Erase what carries these tags (at least one) in [start, stop), in one bucket or all of them.

        Works in bounded steps, to be repeated after a failure; freed pages are overwritten (secure_delete).
        """
        wanted = p.checked_erasure(org_id, tags)
        with self._file.reading() as db:
            if bucket is None:
                buckets = [row[0] for row in db.execute("SELECT id FROM bucket WHERE org_id = ?", (org_id,))]
            else:
                buckets = [t.get_bucket(db, org_id, bucket)]
            series = [id for bucket_id in buckets for id in t.find_series(db, bucket_id, None, wanted, limit=None)]
        if start is None and stop is None:
            self._delete_series(series)
        else:
            start, stop = p.checked_window(start or 0, p.MAX_TIME if stop is None else stop)
            for series_id in series:
                self._delete_rows("point", "time >= ? AND time < ?", (series_id, start, stop))
                self._in_steps(partial(t.clear_samples, series=series_id, start=start, stop=stop, limit=DELETE_BATCH))
        self._file.shrink()

    def expire(self, now: int) -> None:
        """Delete what is older than its bucket's retention at `now` (ns)."""
        p.checked_time(now, "now")
        with self._file.reading() as db:
            expiring = db.execute(
                "SELECT series.id, ? - retention * 1000000000"
                " FROM series JOIN bucket ON bucket.id = bucket_id WHERE retention IS NOT NULL",
                (now,),
            ).fetchall()
        for series_id, cutoff in expiring:
            self._delete_rows("point", "time < ?", (series_id, cutoff))
            self._delete_rows(
                "block",
                "start < ? AND start + (count * 1000000000000 + rate / 2) / rate <= ?",
                (series_id, cutoff, cutoff),
            )
            with self._file.writing() as db:
                db.execute(
                    "DELETE FROM series WHERE id = ?1"
                    " AND NOT EXISTS (SELECT 1 FROM point WHERE series_id = ?1)"
                    " AND NOT EXISTS (SELECT 1 FROM block WHERE series_id = ?1)",
                    (series_id,),
                )
        self._file.shrink()

    # Life

    def ping(self) -> bool:
        """Tell whether the engine answers."""
        try:
            with self._file.reading() as db:
                db.execute("SELECT count(*) FROM bucket WHERE id < 0").fetchone()
        except StoreUnavailable:
            return False
        return True

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _in_steps(self, step: Callable[[t.Connection], int]) -> None:
        """Repeat a deletion until it finds nothing, in a transaction each so that writers get their turn."""
        while True:
            with self._file.writing() as db:
                if not step(db):
                    return

    def _delete_rows(self, table: str, condition: str, parameters: Sequence[Any]) -> None:
        key = "(series_id, time, field_id)" if table == "point" else "(series_id, start)"
        statement = (
            f"DELETE FROM {table} WHERE {key} IN"
            f" (SELECT {key[1:-1]} FROM {table} WHERE series_id = ? AND {condition} LIMIT {DELETE_BATCH})"
        )
        self._in_steps(lambda db: db.execute(statement, parameters).rowcount)

    def _delete_series(self, series: Iterable[int]) -> None:
        for series_id in series:
            self._delete_rows("point", "true", (series_id,))
            self._delete_rows("block", "true", (series_id,))
            with self._file.writing() as db:
                db.execute("DELETE FROM series WHERE id = ?", (series_id,))
