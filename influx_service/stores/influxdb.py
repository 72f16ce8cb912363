"""The InfluxDB 2 engine: a bucket of the server for each bucket of an organisation, a point for each sample.

Nobody but this engine learns the server's names of buckets, and every point carries `org_id` besides. The server
overwrites a point that has the same series and time, so a write that failed half-way is simply said again.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import points as p
from .flux import RATE_FIELD, series_query
from .lines import line_of, rows_of, series_of
from .points import Aggregate, Bucket, Point, QueryTooLarge, Row, Segment
from .server import Server, retention_of
from .waveform import half_period, sample_time

PREFIX = "heartguard/"


class InfluxStore:
    """Time series in an InfluxDB 2 server. Safe for threads; one store per process."""

    def __init__(self, url: str, token: str, org: str) -> None:
        """Prepare the connection; nothing is asked of the server yet."""
        self._server = Server(url, token, org)

    # Buckets

    def put_bucket(self, org_id: str, name: str, retention: int | None) -> None:
        """Create a bucket, or change how many seconds it keeps (None: for ever)."""
        p.checked_tags(org_id, {})
        p.checked_name(name, "bucket")
        self._server.put_bucket(_name(org_id, name), p.checked_retention(retention))

    def buckets(self, org_id: str) -> list[Bucket]:
        """List the organisation's buckets by name."""
        prefix = _name(org_id, "")
        found = self._server.buckets(prefix)
        listed = (Bucket(item.name.removeprefix(prefix), retention_of(item)) for item in found)
        return sorted(listed, key=lambda bucket: bucket.name)

    def delete_bucket(self, org_id: str, name: str) -> None:
        """Delete a bucket and all it holds; raises BucketNotFound."""
        found = self._server.find_bucket(_name(org_id, name))
        if found is None:
            raise p.BucketNotFound(name)
        self._server.delete_bucket(found)

    # Writes

    def write(self, org_id: str, bucket: str, points: Sequence[Point]) -> None:
        """Store points durably; the same series, time and field again overwrites.

        The server keeps the points of a refused write that it could keep: correct the others and repeat it.
        Raises InvalidData, FieldTypeConflict, BucketNotFound, StoreUnavailable.
        """
        lines = [line_of(point) for point in p.checked_points(org_id, points)]
        self._server.write(_name(org_id, bucket), lines)

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

        Raises InvalidData, BucketNotFound, StoreUnavailable.
        """
        tags, rate, samples, end = p.checked_run(org_id, measurement, tags, started_at, sample_rate_hz, values)
        times = [sample_time(started_at, index, rate) for index in range(len(samples))]
        start, stop = max(0, started_at - half_period(rate)), max(1, end - half_period(rate))
        held = self._records(org_id, bucket, measurement, tags, start, stop, [RATE_FIELD], p.MAX_SAMPLES_PER_READ)
        if {record["_at"] for record in held} - set(times):  # another grid: the same times are overwritten anyway
            self._server.erase(_name(org_id, bucket), {"_measurement": measurement, **tags}, start, stop)
        series = series_of(measurement, tags)
        self._server.write(
            _name(org_id, bucket),
            [
                f"{series} {p.SAMPLE_FIELD}={value!r},{RATE_FIELD}={rate}i {time}"
                for time, value in zip(times, samples, strict=True)
            ],
        )

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

        Aggregates as in the embedded engine. Raises InvalidData, QueryTooLarge, BucketNotFound, StoreUnavailable.
        """
        p.checked_window(start, stop)
        p.checked_limit(limit)
        p.checked_aggregate(aggregate, every, start, stop)
        then, parameters = "limit(n: most)", {"most": limit}
        if aggregate:
            width = "inf" if every is None else "duration(v: every)"
            parameters |= {} if every is None else {"every": every}
            then = (
                f'aggregateWindow(every: {width}, fn: {aggregate}, createEmpty: false, timeSrc: "_start")\n  |> {then}'
            )
        numeric = aggregate in ("mean", "min", "max") and fields is None
        query, values = series_query(
            _name(org_id, bucket),
            measurement,
            p.checked_tags(org_id, tags),
            start,
            stop,
            fields,
            then,
            numeric=numeric,
            **parameters,
        )
        return rows_of(self._server.ask(query, values))[:limit]

    def read_samples(
        self, org_id: str, bucket: str, measurement: str, tags: Mapping[str, str], start: int, stop: int
    ) -> list[Segment]:
        """Return the samples in [start, stop), a segment per unbroken stretch, by series and time.

        Raises InvalidData, QueryTooLarge, BucketNotFound, StoreUnavailable.
        """
        p.checked_window(start, stop)
        tags = p.checked_tags(org_id, tags)
        found = self._records(
            org_id, bucket, measurement, tags, start, stop, [p.SAMPLE_FIELD, RATE_FIELD], p.MAX_SAMPLES_PER_READ
        )
        segments: list[Segment] = []
        grid: tuple[tuple[tuple[str, str], ...], int] | None = None
        for row in sorted(rows_of(found), key=lambda row: (tuple(row.tags.items()), row.time)):
            if row.fields.keys() != {p.SAMPLE_FIELD, RATE_FIELD}:
                continue  # a point, written without a rate
            key = (tuple(row.tags.items()), int(row.fields[RATE_FIELD]))
            value = float(row.fields[p.SAMPLE_FIELD])
            if segments and key == grid:
                expected = sample_time(segments[-1].started_at, len(segments[-1].values), key[1])
                if abs(row.time - expected) <= half_period(key[1]):
                    segments[-1].values.append(value)
                    continue
            grid = key
            segments.append(Segment(row.time, key[1] / 1000, array("d", [value]), row.tags))
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
        tags = p.checked_tags(org_id, tags)
        query, values = series_query(_name(org_id, bucket), measurement, tags, 0, p.MAX_TIME, fields, "last()")
        return rows_of(self._server.ask(query, values))

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
        """Erase what carries these tags (at least one) in [start, stop), in one bucket or all of them."""
        wanted = p.checked_erasure(org_id, tags)
        start, stop = p.checked_window(start or 0, p.MAX_TIME if stop is None else stop)
        for name in [bucket] if bucket is not None else [found.name for found in self.buckets(org_id)]:
            self._server.erase(_name(org_id, name), wanted, start, stop)

    def expire(self, now: int) -> None:
        """Leave it to the server, which deletes what is older than its bucket's retention by itself."""
        p.checked_time(now, "now")

    # Life

    def ping(self) -> bool:
        """Tell whether the server answers."""
        return self._server.ping()

    def close(self) -> None:
        """Release the connections."""
        self._server.close()

    def _records(
        self,
        org_id: str,
        bucket: str,
        measurement: str,
        tags: Mapping[str, str],
        start: int,
        stop: int,
        fields: Sequence[str],
        limit: int,
    ) -> list[dict[str, Any]]:
        """Return the values of these fields one by one; raises QueryTooLarge beyond `limit` of a field."""
        query, values = series_query(
            _name(org_id, bucket), measurement, tags, start, stop, fields, "limit(n: most)", most=limit + 1
        )
        found = self._server.ask(query, values)
        if len(found) > limit * len(fields):
            raise QueryTooLarge(f"more than {limit} samples")
        return found


def _name(org_id: str, bucket: str) -> str:
    """Return the server's name of an organisation's bucket."""
    return f"{PREFIX}{org_id}/{bucket}"
