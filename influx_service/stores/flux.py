"""The Flux that the InfluxDB engine asks with: values go as parameters, only checked keys are part of the text.

A parameter is a variable of the script: one named as a function that the script calls would hide it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .points import MAX_TIME, InvalidData

RATE_FIELD = "sample_rate_mhz"  # stands beside each sample's value, so that one point says how it was taken

# The instant as a number; the three times beside it would be parsed for nothing.
TIMED = [
    "map(fn: (r) => ({r with _at: int(v: r._time)}))",
    'drop(columns: ["_start", "_stop", "_time"])',
]

_KEY = re.compile(r"[^\W\d][\w.-]*")
_NUMBERS = 'types.isType(v: r._value, type: "float") or types.isType(v: r._value, type: "int")'


def series_query(
    bucket: str,
    measurement: str,
    tags: Mapping[str, str],
    start: int,
    stop: int,
    fields: Sequence[str] | None,
    then: str = "",
    *,
    numeric: bool = False,
    **parameters: Any,
) -> tuple[str, dict[str, Any]]:
    """Return a query for series with these tags and its parameters; each record has its time (ns) as `_at`."""
    values = {"bucket": bucket, "measurement": measurement, "start": start, "stop": stop, **parameters}
    conditions = ["r._measurement == measurement"]
    for number, (key, value) in enumerate(tags.items()):
        if not _KEY.fullmatch(key):
            raise InvalidData(f"tag {key} cannot be asked for: use letters, digits, '_', '.' and '-'")
        conditions.append(f'r["{key}"] == tag{number}')
        values[f"tag{number}"] = value
    lines = ["from(bucket: bucket)", "range(start: time(v: start), stop: time(v: stop))"]
    lines += [f"filter(fn: (r) => {condition})" for condition in conditions]
    if fields is None:
        values["hidden"] = RATE_FIELD
        lines.append("filter(fn: (r) => r._field != hidden)")
    else:
        values |= {f"field{number}": name for number, name in enumerate(fields)}
        chosen = " or ".join(f"r._field == field{number}" for number in range(len(fields))) or "false"
        lines.append(f"filter(fn: (r) => {chosen})")
    if numeric:
        lines.append(f"filter(fn: (r) => {_NUMBERS})")
    lines += [then] if then else []
    lines += TIMED
    return 'import "types"\n' + "\n  |> ".join(lines), values


def delete_predicate(tags: Mapping[str, str]) -> str:
    """Return the predicate of a deletion; the API has no parameters, so its two special characters are escaped."""
    pairs = ((text.replace("\\", "\\\\").replace('"', '\\"') for text in pair) for pair in tags.items())
    return " AND ".join(f'"{key}"="{value}"' for key, value in pairs)


def bucket_query(bucket: str, *then: str) -> tuple[str, dict[str, Any]]:
    """Return a query for all that a bucket holds and its parameters; the server streams it without keeping a table."""
    lines = ["from(bucket: bucket)", "range(start: time(v: start), stop: time(v: stop))"]
    query = "\n  |> ".join([*lines, *then, 'drop(columns: ["_start", "_stop"])'])
    return query, {"bucket": bucket, "start": 0, "stop": MAX_TIME + 1}
