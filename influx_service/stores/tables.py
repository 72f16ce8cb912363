"""Buckets, series, points and blocks of samples in the embedded engine's tables: one function a question."""

import heapq
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from . import points as p
from .points import BucketNotFound, Point, QueryTooLarge, StoreUnavailable
from .sqlite import Connection
from .waveform import decode, encode, first_index, sample_time

Cell = tuple[int, int, str, Any]  # time, series, field, value or partial aggregate


class Fold(NamedTuple):
    """How one aggregate is taken from rows by SQL, from samples, joined across both, and finished."""

    sql: str
    samples: Callable[[Sequence[float], int], tuple]
    join: Callable[[tuple, tuple], tuple]
    finish: Callable[[tuple], p.Value]


FOLDS: dict[str, Fold] = {
    "mean": Fold(
        "total(value), count(*)",
        lambda values, _: (sum(values), len(values)),
        lambda a, b: (a[0] + b[0], a[1] + b[1]),
        lambda total: total[0] / total[1],
    ),
    "min": Fold("min(value)", lambda values, _: (min(values),), min, lambda least: least[0]),
    "max": Fold("max(value)", lambda values, _: (max(values),), max, lambda most: most[0]),
    "count": Fold("count(*)", lambda values, _: (len(values),), lambda a, b: (a[0] + b[0],), lambda number: number[0]),
    "last": Fold(  # SQLite takes a bare column from the row that holds the maximum
        "max(time), value", lambda values, time: (time, values[-1]), max, lambda last: last[1]
    ),
}


class Block(NamedTuple):
    """Samples of one series on one grid, without their data; `rate` in millihertz."""

    id: int
    start: int
    rate: int
    length: int

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the indices [first, end) of the samples inside [start, stop)."""
        first = max(0, first_index(self.start, start, self.rate))
        return first, max(first, min(self.length, first_index(self.start, stop, self.rate)))


def get_bucket(db: Connection, org_id: str, name: str) -> int:
    """Return a bucket's id; raises BucketNotFound."""
    row = db.execute("SELECT id FROM bucket WHERE org_id = ? AND name = ?", (org_id, name)).fetchone()
    if row is None:
        raise BucketNotFound(name)
    return row[0]


def put_series(db: Connection, bucket: int, measurement: str, tags: Mapping[str, str]) -> int:
    """Find or create a series."""
    key = (bucket, measurement, json.dumps(tags, ensure_ascii=False, separators=(",", ":")))
    row = db.execute("SELECT id FROM series WHERE bucket_id = ? AND measurement = ? AND tags = ?", key).fetchone()
    if row:
        return row[0]
    series = _insert(db, "INSERT INTO series (bucket_id, measurement, tags) VALUES (?, ?, ?)", key)
    db.executemany("INSERT INTO series_tag VALUES (?, ?, ?)", [(name, value, series) for name, value in tags.items()])
    return series


def put_field(db: Connection, bucket: int, measurement: str, name: str, kind: str) -> tuple[int, str]:
    """Find or create a field and the type it was given first."""
    key = (bucket, measurement, name)
    row = db.execute("SELECT id, type FROM field WHERE bucket_id = ? AND measurement = ? AND name = ?", key).fetchone()
    if row:
        return row
    statement = "INSERT INTO field (bucket_id, measurement, name, type) VALUES (?, ?, ?, ?)"
    return _insert(db, statement, (*key, kind)), kind


def _insert(db: Connection, statement: str, row: Sequence[Any]) -> int:
    made = db.execute(statement, row).lastrowid
    assert made is not None
    return made


def cells_of(
    db: Connection,
    bucket: int,
    points: Iterable[Point],
    series: dict[tuple[str, str], int],
    fields: dict[tuple[str, str], tuple[int, str]],
) -> Iterator[tuple[int, int, int, p.Value]]:
    """Yield (series, time, field, value) of each field value; raises FieldTypeConflict."""
    for point in points:
        key = (point.measurement, str(point.tags))
        if key not in series:
            series[key] = put_series(db, bucket, point.measurement, point.tags)
        for name, value in point.fields.items():
            kind = type(value).__name__
            field = (point.measurement, name)
            if field not in fields:
                fields[field] = put_field(db, bucket, *field, kind)
            field_id, known = fields[field]
            if known != kind:
                raise p.FieldTypeConflict(f"field {name} holds {known}, not {kind}")
            yield series[key], point.time, field_id, value


def find_series(
    db: Connection,
    bucket: int,
    measurement: str | None,
    tags: Mapping[str, str],
    limit: int | None = p.MAX_SERIES_PER_QUERY,
) -> dict[int, dict[str, str]]:
    """Return the series that carry all these tags, with their own; raises QueryTooLarge beyond `limit`."""
    conditions = ["bucket_id = ?"]
    parameters: list[Any] = [bucket]
    if measurement is not None:
        conditions.append("measurement = ?")
        parameters.append(measurement)
    for tag in tags.items():
        conditions.append("id IN (SELECT series_id FROM series_tag WHERE key = ? AND value = ?)")
        parameters.extend(tag)
    rows = db.execute(f"SELECT id, tags FROM series WHERE {' AND '.join(conditions)} ORDER BY id", parameters)
    found = rows.fetchall() if limit is None else rows.fetchmany(limit + 1)
    if limit is not None and len(found) > limit:
        raise QueryTooLarge(f"more than {limit} series")
    return {id: json.loads(tags) for id, tags in found}


def find_fields(
    db: Connection, bucket: int, measurement: str, names: Sequence[str] | None, *, numeric: bool = False
) -> dict[int, tuple[str, str]]:
    """Return name and type by id of the fields asked for, only numbers on demand; raises InvalidData."""
    rows = db.execute("SELECT id, name, type FROM field WHERE bucket_id = ? AND measurement = ?", (bucket, measurement))
    known = {id: (name, kind) for id, name, kind in rows if names is None or name in names}
    if numeric and names is not None and any(kind not in ("int", "float") for _, kind in known.values()):
        raise p.InvalidData("mean, min and max need fields of numbers")
    return {id: field for id, field in known.items() if not numeric or field[1] in ("int", "float")}


def instant_of(cell: Cell) -> tuple[int, int]:
    """Return what cells are merged by: time and series."""
    return cell[:2]


def typed(value: Any, kind: str) -> p.Value:
    """Give a stored value the type of its field: SQLite keeps booleans as integers."""
    return bool(value) if kind == "bool" else value


def read_values(
    db: Connection, series: int, wanted: Mapping[int, tuple[str, str]], samples: bool, start: int, stop: int
) -> Iterator[Cell]:
    """Yield one series in [start, stop) by time; of a point and a sample at one instant, the point wins."""

    def sampled() -> Iterator[Cell]:
        for block in find_blocks(db, series, start, stop):
            first, end = block.span(start, stop)
            values = read_block(db, block) if first < end else ()
            for index in range(first, end):
                yield sample_time(block.start, index, block.rate), series, p.SAMPLE_FIELD, values[index]

    def pointwise() -> Iterator[Cell]:
        for time, field, value in db.execute(
            "SELECT time, field_id, value FROM point WHERE series_id = ? AND time >= ? AND time < ? ORDER BY time",
            (series, start, stop),
        ):
            if field in wanted:
                name, kind = wanted[field]
                yield time, series, name, typed(value, kind)

    return heapq.merge(sampled() if samples else (), pointwise(), key=instant_of)


def read_aggregates(
    db: Connection,
    series: int,
    wanted: Mapping[int, tuple[str, str]],
    samples: bool,
    start: int,
    stop: int,
    fold: Fold,
    every: int | None,
) -> Iterator[Cell]:
    """Yield the aggregate of each window and field of one series by time."""
    width = every or stop
    partials: dict[tuple[int, str], tuple] = {}

    def add(window: int, name: str, partial: tuple) -> None:
        key = (max(start, window * width), name)
        partials[key] = fold.join(partials[key], partial) if key in partials else partial

    for window, field, *partial in db.execute(
        f"SELECT time / ?, field_id, {fold.sql} FROM point WHERE series_id = ? AND time >= ? AND time < ?"
        " GROUP BY 1, 2",
        (width, series, start, stop),
    ):
        if field in wanted:
            add(window, wanted[field][0], tuple(partial))
    for block in find_blocks(db, series, start, stop) if samples else ():
        index, end = block.span(start, stop)
        values = read_block(db, block) if index < end else ()
        while index < end:
            window = sample_time(block.start, index, block.rate) // width
            after = min(end, first_index(block.start, (window + 1) * width, block.rate))
            last = sample_time(block.start, after - 1, block.rate)
            add(window, p.SAMPLE_FIELD, fold.samples(values[index:after], last))
            index = after
    for (time, name), partial in sorted(partials.items()):
        yield time, series, name, fold.finish(partial)


def find_blocks(db: Connection, series: int, start: int, stop: int, limit: int = -1) -> Iterator[Block]:
    """Yield the blocks that may have samples in [start, stop) by time; the first may end before."""
    rows = db.execute(
        "SELECT id, start, rate, count FROM block WHERE series_id = ?1 AND start < ?3 AND start >="
        " coalesce((SELECT max(start) FROM block WHERE series_id = ?1 AND start <= ?2), 0)"
        " ORDER BY start LIMIT ?4",
        (series, start, stop, limit),
    )
    return map(Block._make, rows)


def find_newest_block(db: Connection, series: int) -> Block | None:
    """Return the block with the newest samples of a series."""
    row = db.execute(
        "SELECT id, start, rate, count FROM block WHERE series_id = ? ORDER BY start DESC LIMIT 1", (series,)
    ).fetchone()
    return row and Block(*row)


def read_block(db: Connection, block: Block) -> array:
    """Decode a block; raises QueryTooLarge when the read is late, StoreUnavailable for a damaged file."""
    if db.late():
        raise QueryTooLarge("the query takes too long")
    (data,) = db.execute("SELECT data FROM block WHERE id = ?", (block.id,)).fetchone()
    try:
        return decode(data)
    except ValueError as error:
        raise StoreUnavailable("the time-series file is damaged") from error


def insert_block(db: Connection, series: int, start: int, rate: int, count: int, data: bytes) -> None:
    """Store an encoded block; its span must be free."""
    db.execute(
        "INSERT INTO block (series_id, start, rate, count, data) VALUES (?, ?, ?, ?, ?)",
        (series, start, rate, count, data),
    )


def clear_samples(db: Connection, series: int, start: int, stop: int, limit: int = -1) -> int:
    """Remove the samples in [start, stop), cutting blocks at the edges; returns how many it touched."""
    touched = 0
    for block in list(find_blocks(db, series, start, stop, limit)):
        first, end = block.span(start, stop)
        if first == end:
            continue
        kept = read_block(db, block) if first > 0 or end < block.length else array("d")
        db.execute("DELETE FROM block WHERE id = ?", (block.id,))
        for begin, piece in ((0, kept[:first]), (end, kept[end:])):
            if piece:
                began = sample_time(block.start, begin, block.rate)
                insert_block(db, series, began, block.rate, len(piece), encode(piece))
        touched += 1
    return touched
