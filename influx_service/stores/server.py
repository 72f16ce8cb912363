"""An InfluxDB 2 server by its HTTP API: its own names of buckets in, our errors out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import urllib3
from influxdb_client import Bucket as ServerBucket
from influxdb_client import BucketRetentionRules, InfluxDBClient, WritePrecision
from influxdb_client.client.flux_csv_parser import FluxCsvParserException, FluxQueryException
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from . import points as p
from .flux import delete_predicate
from .lines import tags_of
from .points import QueryTooLarge, StoreUnavailable

LINES_PER_REQUEST = 5_000
BUCKETS_PER_PAGE = 100
CONNECT_SECONDS, READ_SECONDS = 2, 10
_HOUR, _DAY = 3600, 86_400


class Server:
    """What is asked of one server, and of one organisation there. Safe for threads; one per process."""

    def __init__(self, url: str, token: str, org: str, read_seconds: int = READ_SECONDS) -> None:
        """Prepare the connection; nothing is asked of the server yet."""
        timeout = (CONNECT_SECONDS * 1000, read_seconds * 1000)
        # The caller repeats what failed: retries here would outlast the request that waits for them.
        self._client = InfluxDBClient(url, token, org=org, timeout=timeout, enable_gzip=True, retries=False)
        self._org = org
        self._buckets = self._client.buckets_api()
        self._writer = self._client.write_api(write_options=SYNCHRONOUS)
        self._reader = self._client.query_api()
        self._eraser = self._client.delete_api()

    def ping(self) -> bool:
        """Tell whether the server answers."""
        return self._client.ping()

    def close(self) -> None:
        """Release the connections."""
        self._client.close()

    def buckets(self, prefix: str) -> list[ServerBucket]:
        """List the buckets whose names begin so."""
        found: list[ServerBucket] = []
        offset, full = 0, True
        with server_errors():
            # By offset: some versions end each page with system buckets, after which no other page is found by `after`.
            while full:
                page = self._buckets.find_buckets(org=self._org, limit=BUCKETS_PER_PAGE, offset=offset).buckets
                found += [item for item in page if item.name.startswith(prefix)]
                offset += BUCKETS_PER_PAGE
                full = len(page) >= BUCKETS_PER_PAGE
        return found

    def find_bucket(self, name: str) -> ServerBucket | None:
        """Return a bucket, None where there is none: versions say so with 404 or with other buckets."""
        with server_errors():
            try:
                found = self._buckets.find_buckets(org=self._org, name=name).buckets
            except ApiException as error:
                if error.status != 404:
                    raise
                return None
        return next((item for item in found if item.name == name), None)

    def put_bucket(self, name: str, retention: int | None) -> None:
        """Create a bucket, or change how many seconds it keeps (None: for ever)."""
        rules = [_rule(retention)]
        found = self.find_bucket(name)
        with server_errors():
            if found is None:
                try:
                    self._buckets.create_bucket(bucket_name=name, retention_rules=rules, org=self._org)
                    return
                except ApiException as error:
                    if error.status != 422 or (found := self.find_bucket(name)) is None:  # not made by somebody else
                        raise
            found.retention_rules = rules
            self._buckets.update_bucket(found)

    def rename_bucket(self, bucket: ServerBucket, name: str) -> None:
        """Give a bucket another name."""
        bucket.name = name
        with server_errors():
            self._buckets.update_bucket(bucket)

    def delete_bucket(self, bucket: ServerBucket) -> None:
        """Delete a bucket and all it holds."""
        with server_errors():
            self._buckets.delete_bucket(bucket)

    def write(self, bucket: str, lines: Sequence[str]) -> None:
        """Store lines of the protocol, durably when it returns."""
        for index in range(0, len(lines), LINES_PER_REQUEST):
            with server_errors(), _beyond_retention():
                body = "\n".join(lines[index : index + LINES_PER_REQUEST])
                # The library annotates its constants, which are texts, as instances of the class that holds them.
                self._writer.write(bucket, self._org, body, write_precision=WritePrecision.NS)  # type: ignore[arg-type]

    def ask(self, query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the records of a Flux query; raises QueryTooLarge as soon as too many series have arrived.

        The values travel as `extern`, a syntax tree of assignments: `params` are of InfluxDB Cloud alone.
        """
        found, series, table = [], set(), None
        with server_errors():
            for record in self._reader.query_stream(query, self._org, params=values):
                if record.table != table:  # each is a field of one series
                    table = record.table
                    series.add(tags_of(record.values))
                    if len(series) > p.MAX_SERIES_PER_QUERY:
                        raise QueryTooLarge(f"more than {p.MAX_SERIES_PER_QUERY} series")
                found.append(record.values)
        return found

    def ask_rows(self, query: str, values: dict[str, Any]) -> Iterator[list[str]]:
        """Yield the annotated CSV of a Flux query row by row, as it arrives."""
        with server_errors():
            for row in self._reader.query_csv(query, self._org, params=values):
                if row[1:3] == ["error", "reference"]:
                    raise StoreUnavailable("the server broke off its answer")
                yield row

    def erase(self, bucket: str, tags: Mapping[str, str], start: int, stop: int) -> None:
        """Delete what carries these tags in [start, stop)."""
        with server_errors():  # the server takes both ends as inside
            self._eraser.delete(_rfc3339(start), _rfc3339(stop - 1), delete_predicate(tags), bucket, self._org)


def retention_of(bucket: ServerBucket) -> int | None:
    """Return the seconds that a bucket keeps, as ours say it."""
    return bucket.retention_rules[0].every_seconds or None if bucket.retention_rules else None


def _rule(retention: int | None) -> BucketRetentionRules:
    """Say a retention. The server refuses one shorter than the shards it has chosen, so they are said too, as it would
    choose them: an hour below two days, a day below half a year, else a week."""
    shard = 7 * _DAY
    if retention is not None and retention < 180 * _DAY:
        shard = _DAY if retention >= 2 * _DAY else _HOUR
    return BucketRetentionRules(type="expire", every_seconds=retention or 0, shard_group_duration_seconds=shard)


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
        if error.status != 422 or not any(words in str(error.body) for words in _EXPIRED):
            raise


_EXPIRED = ("points beyond retention policy", "violates a Retention Policy Lower Bound")  # older and newer 2.7


@contextmanager
def server_errors() -> Iterator[None]:
    """Turn what the server answers, or that it does not, into our errors; its texts may quote values and stay out."""
    try:
        yield
    except ApiException as error:
        if error.status == 404:
            raise p.BucketNotFound("the server has no such bucket") from None
        if "field type conflict" in str(error.body):
            raise p.FieldTypeConflict("a field holds another type") from None
        if error.status in (400, 413, 422) or _is_about_types(str(error.body)):
            raise p.InvalidData(f"the server refused the request with {error.status}") from None
        raise StoreUnavailable(f"the server answered {error.status}") from None
    except FluxQueryException as error:  # a query that failed after its answer had begun with 200
        if _is_about_types(str(error)):
            raise p.InvalidData("the server cannot do this with fields of this type") from None
        raise StoreUnavailable("the server broke off its answer") from None
    except FluxCsvParserException:
        raise StoreUnavailable("the server's answer is no annotated CSV") from None
    except urllib3.exceptions.HTTPError as error:
        raise StoreUnavailable(f"the server does not answer: {type(error).__name__}") from None


def _is_about_types(text: str) -> bool:
    """Whether an aggregate was asked of text."""
    return "unsupported" in text and "type" in text
