"""The InfluxDB 2 engine: a bucket of the server for each bucket of an organisation, a point for each sample.

Nobody but this engine learns the server's names of buckets, and every point carries `org_id` besides. The server
overwrites a point that has the same series and time, so a write that failed half-way is simply said again.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import urllib3
from influxdb_client import Bucket as ServerBucket
from influxdb_client import BucketRetentionRules, InfluxDBClient, WritePrecision
from influxdb_client import Point as Line
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from . import points as p
from .flux import RATE_FIELD, delete_predicate, series_query
from .points import Aggregate, Bucket, Point, QueryTooLarge, Row, Segment, StoreUnavailable
from .waveform import half_period, sample_time

PREFIX = "heartguard"
LINES_PER_REQUEST = 5_000
CONNECT_SECONDS, READ_SECONDS = 2, 10
_COLUMNS = {"result", "table", "at"}


class InfluxStore:
    """Time series in an InfluxDB 2 server. Safe for threads; one store per process."""

    def __init__(self, url: str, token: str, org: str) -> None:
        """Prepare the connection; nothing is asked of the server yet."""
        timeout = (CONNECT_SECONDS * 1000, READ_SECONDS * 1000)
        # The caller repeats what failed: retries here would outlast the request that waits for them.
        self._client = InfluxDBClient(url, token, org=org, timeout=timeout, enable_gzip=True, retries=False)
        self._org = org
        self._buckets = self._client.buckets_api()
        self._writer = self._client.write_api(write_options=SYNCHRONOUS)
        self._reader = self._client.query_api()
        self._eraser = self._client.delete_api()

    # Buckets

    def put_bucket(self, org_id: str, name: str, retention: int | None) -> None:
        """Create a bucket, or change how many seconds it keeps (None: for ever)."""
        p.checked_tags(org_id, {})
        p.checked_name(name, "bucket")
        seconds = p.checked_retention(retention) or 0
        rules = [BucketRetentionRules(type="expire", every_seconds=seconds)]
        with _server_errors():
            found = self._find(org_id, name)
            if found is None:
                self._buckets.create_bucket(bucket_name=_name(org_id, name), retention_rules=rules, org=self._org)
            else:
                found.retention_rules = rules
                self._buckets.update_bucket(found)

    def buckets(self, org_id: str) -> list[Bucket]:
        """List the organisation's buckets by name."""
        with _server_errors():
            listed = self._listed(org_id)
        return sorted((Bucket(name, _retention(found)) for name, found in listed), key=lambda bucket: bucket.name)

    def delete_bucket(self, org_id: str, name: str) -> None:
        """Delete a bucket and all it holds; raises BucketNotFound."""
        with _server_errors():
            self._buckets.delete_bucket(self._get(org_id, name))

    # Writes

    def write(self, org_id: str, bucket: str, points: Sequence[Point]) -> None:
        """Store points durably; the same series, time and field again overwrites.

        The server keeps the points of a refused write that it could keep: correct the others and repeat it.
        Raises InvalidData, FieldTypeConflict, BucketNotFound, StoreUnavailable.
        """
        self._send(org_id, bucket, [_line(point) for point in p.checked_points(org_id, points)])

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
        if {record["at"] for record in held} - set(times):  # another grid: the same times are overwritten anyway
            self._erase(org_id, bucket, {"_measurement": measurement, **tags}, start, stop)
        series = _line(Point(measurement, tags, {p.SAMPLE_FIELD: True}, 0)).rsplit(" ", 2)[0]
        self._send(
            org_id,
            bucket,
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
        then, parameters = "limit(n: limit)", {"limit": limit}
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
        return _rows(self._ask(query, values))[:limit]

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
        for row in sorted(_rows(found), key=lambda row: (tuple(row.tags.items()), row.time)):
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
        return _rows(
            self._ask(*series_query(_name(org_id, bucket), measurement, tags, 0, p.MAX_TIME, fields, "last()"))
        )

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
            self._erase(org_id, name, wanted, start, stop)

    def expire(self, now: int) -> None:
        """Leave it to the server, which deletes what is older than its bucket's retention by itself."""
        p.checked_time(now, "now")

    # Life

    def ping(self) -> bool:
        """Tell whether the server answers."""
        return self._client.ping()

    def close(self) -> None:
        """Release the connections."""
        self._client.close()

    def _listed(self, org_id: str) -> list[tuple[str, ServerBucket]]:
        prefix = _name(org_id, "")
        found = self._buckets.find_buckets_iter(org=self._org, limit=100)
        return [(item.name.removeprefix(prefix), item) for item in found if item.name.startswith(prefix)]

    def _find(self, org_id: str, name: str) -> ServerBucket | None:
        found = self._buckets.find_buckets(org=self._org, name=_name(org_id, name)).buckets
        return found[0] if found else None

    def _get(self, org_id: str, name: str) -> ServerBucket:
        found = self._find(org_id, name)
        if found is None:
            raise p.BucketNotFound(name)
        return found

    def _send(self, org_id: str, bucket: str, lines: list[str]) -> None:
        for index in range(0, len(lines), LINES_PER_REQUEST):
            with _server_errors(), _beyond_retention():
                self._writer.write(
                    _name(org_id, bucket),
                    self._org,
                    "\n".join(lines[index : index + LINES_PER_REQUEST]),
                    write_precision=WritePrecision.NS,
                )

    def _ask(self, query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        with _server_errors():
            return [record.values for record in self._reader.query_stream(query, self._org, params=values)]

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
        found = self._ask(
            *series_query(
                _name(org_id, bucket), measurement, tags, start, stop, fields, "limit(n: limit)", limit=limit + 1
            )
        )
        if len(found) > limit * len(fields):
            raise QueryTooLarge(f"more than {limit} samples")
        return found

    def _erase(self, org_id: str, bucket: str, tags: Mapping[str, str], start: int, stop: int) -> None:
        with _server_errors():  # the server takes both ends as inside
            self._eraser.delete(
                _rfc3339(start), _rfc3339(stop - 1), delete_predicate(tags), _name(org_id, bucket), self._org
            )


def _name(org_id: str, bucket: str) -> str:
    """Return the server's name of an organisation's bucket."""
    return f"{PREFIX}/{org_id}/{bucket}"


def _retention(bucket: ServerBucket) -> int | None:
    """Return the seconds that a bucket keeps, as ours say it."""
    return bucket.retention_rules[0].every_seconds or None if bucket.retention_rules else None


def _line(point: Point) -> str:
    """Return a point as a line of the protocol; raises InvalidData for what it cannot say."""
    for name in (point.measurement, *point.tags, *point.fields):
        if "\\" in name or '"' in name:
            raise p.InvalidData("names must not have quotes or backslashes")
    if point.measurement.startswith("#"):  # the server would take the line for a comment and lose it in silence
        raise p.InvalidData("a measurement must not start with '#'")
    if any(value.endswith("\\") for value in point.tags.values()):  # would escape the separator that follows
        raise p.InvalidData("tags must not end with a backslash")
    if RATE_FIELD in point.fields:
        raise p.InvalidData(f"field {RATE_FIELD} is the engine's own")
    line = Line(point.measurement).time(point.time, WritePrecision.NS)
    for key, value in point.tags.items():
        line.tag(key, value)
    for key, value in point.fields.items():
        line.field(key, value)
    return line.to_line_protocol()


def _rows(records: Iterable[dict[str, Any]]) -> list[Row]:
    """Join single values into rows by time and series."""
    joined: dict[tuple[int, tuple[tuple[str, str], ...]], dict[str, p.Value]] = {}
    for record in records:
        tags = tuple(
            sorted((key, value) for key, value in record.items() if key not in _COLUMNS and not key.startswith("_"))
        )
        joined.setdefault((record["at"], tags), {})[record["_field"]] = record["_value"]
    return [Row(time, dict(tags), fields) for (time, tags), fields in sorted(joined.items(), key=lambda item: item[0])]


def _rfc3339(time: int) -> str:
    """Return an instant with all its nanoseconds."""
    seconds, rest = divmod(time, p.SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


@contextmanager
def _beyond_retention() -> Iterator[None]:
    """Let a write pass of which the server dropped only what its retention would delete at once."""
    try:
        yield
    except ApiException as error:
        if error.status != 422 or "beyond retention policy" not in str(error.body):
            raise


@contextmanager
def _server_errors() -> Iterator[None]:
    """Turn what the server answers, or that it does not, into our errors; its texts may quote values and stay out."""
    try:
        yield
    except ApiException as error:
        if error.status == 404:
            raise p.BucketNotFound("the server has no such bucket") from None
        if "field type conflict" in str(error.body):
            raise p.FieldTypeConflict("a field holds another type") from None
        if error.status in (400, 413, 422):
            raise p.InvalidData(f"the server refused the request with {error.status}") from None
        raise StoreUnavailable(f"the server answered {error.status}") from None
    except urllib3.exceptions.HTTPError as error:
        raise StoreUnavailable(f"the server does not answer: {type(error).__name__}") from None
