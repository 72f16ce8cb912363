"""Points as the line protocol says them, and rows as the server's records tell them."""

from collections.abc import Iterable, Mapping
from typing import Any

from influxdb_client import Point as Line
from influxdb_client import WritePrecision

from . import points as p
from .flux import RATE_FIELD
from .points import Point, Row

_COLUMNS = {"result", "table"}  # of every answer in annotated CSV
_RESERVED = _COLUMNS | {"time"}


def line_of(point: Point) -> str:
    """Return a point as a line of the protocol; raises InvalidData for what it cannot say."""
    for name in (point.measurement, *point.tags, *point.fields):
        if "\\" in name or '"' in name:
            raise p.InvalidData("names must not have quotes or backslashes")
    if point.measurement.startswith("#"):  # the server would take the line for a comment and lose it in silence
        raise p.InvalidData("a measurement must not start with '#'")
    if reserved := _RESERVED & {*point.tags, *point.fields}:
        raise p.InvalidData(f"{min(reserved)} is a name of the server's own")
    if any(value.endswith("\\") for value in point.tags.values()):  # would escape the separator that follows
        raise p.InvalidData("tags must not end with a backslash")
    if RATE_FIELD in point.fields:
        raise p.InvalidData(f"field {RATE_FIELD} is the engine's own")
    line = Line(point.measurement).time(point.time, WritePrecision.NS)
    for key, value in point.tags.items():
        line.tag(key, value)
    for key, field in point.fields.items():
        line.field(key, field)
    return line.to_line_protocol()


def series_of(measurement: str, tags: Mapping[str, str]) -> str:
    """Return the part of a line before its fields; raises InvalidData."""
    return line_of(Point(measurement, tags, {p.SAMPLE_FIELD: True}, 0)).rsplit(" ", 2)[0]


def tags_of(record: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the tags of a record's series, by name."""
    return tuple(
        sorted((key, value) for key, value in record.items() if key not in _COLUMNS and not key.startswith("_"))
    )


def rows_of(records: Iterable[dict[str, Any]]) -> list[Row]:
    """Join single values into rows by time and series; the answer's CSV cannot tell an empty text from none."""
    joined: dict[tuple[int, tuple[tuple[str, str], ...]], dict[str, p.Value]] = {}
    for record in records:
        value = record["_value"]
        joined.setdefault((record["_at"], tags_of(record)), {})[record["_field"]] = "" if value is None else value
    return [Row(time, dict(tags), fields) for (time, tags), fields in sorted(joined.items(), key=lambda item: item[0])]
