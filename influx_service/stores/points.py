"""What a time-series engine accepts and returns, and the bounds that every engine keeps."""

import math
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from .waveform import sample_time

Value = float | int | bool | str
Aggregate = Literal["mean", "min", "max", "count", "last"]

SECOND = 1_000_000_000
MAX_TIME = 9_214_646_400 * SECOND  # 2262-01-01, where signed 64-bit nanoseconds end
MAX_RATE_HZ = 100_000.0
MAX_POINTS_PER_WRITE = 50_000
MAX_SAMPLES_PER_WRITE = 500_000
MAX_SAMPLES_PER_READ = 2_000_000
MAX_ROWS = 100_000
MAX_SERIES_PER_QUERY = 256
MAX_TAGS = 16
MAX_FIELDS = 32
MAX_NAME = 64
MAX_TAG_VALUE = 256
MAX_TEXT = 1024
SAMPLE_FIELD = "value"  # the field under which query() sees the samples of a waveform

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class StoreError(Exception):
    """Root of what an engine raises."""


class InvalidData(StoreError):
    """The caller's points, samples, names or bounds are not acceptable."""


class FieldTypeConflict(InvalidData):
    """A field holds one type for good: a bucket and measurement fixed another one earlier."""


class QueryTooLarge(StoreError):
    """The answer, or the work to find it, exceeds what one query may take: narrow the window."""


class BucketNotFound(StoreError):
    """The organisation has no bucket of this name."""


class StoreUnavailable(StoreError):
    """The engine cannot serve now (busy, down, disk full); trying again later may work."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A named container of series with one retention in seconds (None keeps for ever)."""

    name: str
    retention: int | None


@dataclass(frozen=True, slots=True)
class Point:
    """Field values of one series at one instant (ns since 1970 UTC)."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, Value]
    time: int


@dataclass(frozen=True, slots=True)
class Row:
    """One instant (or the start of one aggregation window, ns since 1970 UTC) of one series."""

    time: int
    tags: Mapping[str, str]
    fields: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Segment:
    """Samples without a gap: sample i was taken at started_at + i / sample_rate_hz."""

    started_at: int
    sample_rate_hz: float
    values: array
    tags: Mapping[str, str]


def checked_name(name: str, what: str) -> str:
    """Return a bucket, measurement, tag or field name; raises InvalidData."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or _UNPRINTABLE.search(name):
        raise InvalidData(f"{what} must be 1 to {MAX_NAME} printable characters")
    if name.startswith("_"):
        raise InvalidData(f"{what} must not start with '_', which engines reserve")
    return name


def checked_tags(org_id: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags with their organisation, sorted by key; raises InvalidData."""
    if not isinstance(org_id, str) or not org_id:
        raise InvalidData("org_id is required")
    if tags.get("org_id", org_id) != org_id:
        raise InvalidData("the org_id tag names another organisation")
    tags = {**tags, "org_id": org_id}
    if len(tags) > MAX_TAGS:
        raise InvalidData(f"more than {MAX_TAGS} tags")
    for key, value in tags.items():
        checked_name(key, "tag key")
        if not isinstance(value, str) or not 0 < len(value) <= MAX_TAG_VALUE or _UNPRINTABLE.search(value):
            raise InvalidData(f"tag {key} must be 1 to {MAX_TAG_VALUE} printable characters")
    return dict(sorted(tags.items()))


def checked_fields(fields: Mapping[str, Value]) -> dict[str, Value]:
    """Return the field values; raises InvalidData for none, NaN, infinity, beyond 64 bits or long text."""
    if not 0 < len(fields) <= MAX_FIELDS:
        raise InvalidData(f"a point has 1 to {MAX_FIELDS} fields")
    for name, value in fields.items():
        checked_name(name, "field")
        match value:
            case bool():
                pass
            case int():
                if not -(2**63) <= value < 2**63:
                    raise InvalidData(f"field {name} exceeds 64 bits")
            case float():
                if not math.isfinite(value):
                    raise InvalidData(f"field {name} is not a finite number")
            case str():
                if len(value) > MAX_TEXT or _UNPRINTABLE.search(value):
                    raise InvalidData(f"field {name} must be at most {MAX_TEXT} printable characters")
            case _:
                raise InvalidData(f"field {name} must be a number, boolean or text")
    return dict(fields)


def checked_time(time: int, what: str = "time") -> int:
    """Return an instant in ns since 1970 UTC; raises InvalidData."""
    if type(time) is not int or not 0 <= time <= MAX_TIME:
        raise InvalidData(f"{what} must be whole nanoseconds between 1970 and 2262")
    return time


def checked_window(start: int, stop: int) -> tuple[int, int]:
    """Return a half-open window [start, stop) in ns; raises InvalidData."""
    if checked_time(start, "start") >= checked_time(stop, "stop"):
        raise InvalidData("start must be before stop")
    return start, stop


def checked_rate(sample_rate_hz: float) -> int:
    """Return a sample rate in whole millihertz, the precision that streams are declared in."""
    if not isinstance(sample_rate_hz, (int, float)) or not 0 < sample_rate_hz <= MAX_RATE_HZ:
        raise InvalidData(f"sample_rate_hz must be above 0 and at most {MAX_RATE_HZ:g}")
    rate = round(sample_rate_hz * 1000)
    if rate == 0 or abs(rate - sample_rate_hz * 1000) > 1e-6:
        raise InvalidData("sample_rate_hz has more than three decimals")
    return rate


def checked_samples(values: Iterable[float]) -> array:
    """Return samples as doubles (-0.0 becomes 0.0); raises InvalidData."""
    try:
        samples = array("d", values)
    except (TypeError, OverflowError) as error:
        raise InvalidData("values must be numbers that fit a double") from error
    if not 0 < len(samples) <= MAX_SAMPLES_PER_WRITE:
        raise InvalidData(f"a write has 1 to {MAX_SAMPLES_PER_WRITE} samples")
    if not all(map(math.isfinite, samples)):
        raise InvalidData("values must be finite numbers")
    return array("d", [sample + 0.0 for sample in samples])


def checked_points(org_id: str, points: Sequence[Point]) -> list[Point]:
    """Return the points of one write, their tags completed with the organisation; raises InvalidData."""
    if not 0 < len(points) <= MAX_POINTS_PER_WRITE:
        raise InvalidData(f"a write has 1 to {MAX_POINTS_PER_WRITE} points")
    return [
        Point(
            checked_name(point.measurement, "measurement"),
            checked_tags(org_id, point.tags),
            checked_fields(point.fields),
            checked_time(point.time),
        )
        for point in points
    ]


def checked_run(
    org_id: str,
    measurement: str,
    tags: Mapping[str, str],
    started_at: int,
    sample_rate_hz: float,
    values: Iterable[float],
) -> tuple[dict[str, str], int, array, int]:
    """Return the tags, rate (mHz), samples and end (ns) of evenly spaced samples; raises InvalidData."""
    checked_name(measurement, "measurement")
    tags, rate, samples = checked_tags(org_id, tags), checked_rate(sample_rate_hz), checked_samples(values)
    end = checked_time(sample_time(checked_time(started_at), len(samples), rate))
    return tags, rate, samples, end


def checked_erasure(org_id: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags to delete by, at least one beside the organisation's; raises InvalidData."""
    wanted = checked_tags(org_id, tags)
    if not tags.keys() - {"org_id"}:
        raise InvalidData("name at least one tag to delete by")
    return wanted


def checked_limit(limit: int) -> int:
    """Return the number of rows that a query may answer; raises InvalidData."""
    if not 0 < limit <= MAX_ROWS:
        raise InvalidData(f"limit must be 1 to {MAX_ROWS}")
    return limit


def checked_aggregate(aggregate: str | None, every: int | None, start: int, stop: int) -> None:
    """Check an aggregate and the width of its windows in ns; raises InvalidData, QueryTooLarge."""
    if aggregate not in (None, *get_args(Aggregate)):
        raise InvalidData(f"aggregate must be one of {', '.join(get_args(Aggregate))}")
    if every is not None:
        if aggregate is None or every <= 0:
            raise InvalidData("every needs an aggregate and must be above 0")
        if (stop - start) // every >= MAX_ROWS:
            raise QueryTooLarge(f"more than {MAX_ROWS} aggregation windows")


def checked_retention(retention: int | None) -> int | None:
    """Return a retention in seconds (None keeps for ever); raises InvalidData."""
    if retention is not None and not 3600 <= retention <= MAX_TIME // SECOND:
        raise InvalidData("retention must be at least one hour, in seconds, or none")
    return retention
