"""Wire shapes of the time-series service."""

from __future__ import annotations

import math
from typing import Any

from common import fields
from common.pagination import PageFilter

MAX_SAMPLES = 100_000
MAX_POINTS = 2_000
MAX_ROWS = 5_000
LIMIT = 1e15
AGGREGATES = ("mean", "min", "max", "count", "last")


class Samples(fields.ListOf):
    """Finite numbers, checked as a whole: field by field, 10,000 of them would take a tenth of a second."""

    def __init__(self, **options: Any) -> None:
        super().__init__(fields.Number(-LIMIT, LIMIT), max_items=MAX_SAMPLES, min_items=1, **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **options: Any) -> Any:
        plain = isinstance(value, list) and value and set(map(type, value)) <= {int, float}
        if plain and min(value) >= -LIMIT and max(value) <= LIMIT and all(map(math.isfinite, value)):
            return value
        return super()._deserialize(value, attr, data, **options)

    def _serialize(self, value: Any, attr: Any, obj: Any, **options: Any) -> Any:
        return None if value is None else list(value)


class PointIn(fields.Schema):
    """One reading."""

    time = fields.DateTime(required=True)
    value = fields.Number(-LIMIT, LIMIT, required=True)


class WriteIn(fields.Schema):
    """Samples of a stream: `started_at` and `values` at the stream's rate, or `points` with a time each."""

    stream_id = fields.Uuid(required=True)
    started_at = fields.DateTime(load_default=None, allow_none=True)
    values = Samples(load_default=None, allow_none=True)
    points = fields.ListOf(
        fields.Nested(PointIn), max_items=MAX_POINTS, min_items=1, load_default=None, allow_none=True
    )


class WrittenOut(fields.Schema):
    """What was kept: the samples in [from, to)."""

    stream_id = fields.Uuid()
    count = fields.Integer()
    start = fields.DateTime(data_key="from")
    stop = fields.DateTime(data_key="to")


class Window(fields.Schema):
    """A stream's samples in [start, stop)."""

    stream_id = fields.Uuid(required=True)
    start = fields.DateTime(required=True)
    stop = fields.DateTime(required=True)


class QueryIn(Window):
    """A window as `samples` (evenly spaced, in unbroken segments) or as `rows`, plain or aggregated by `every_s`."""

    form = fields.Choice(("rows", "samples"), load_default="rows")
    aggregate = fields.Choice(AGGREGATES, load_default=None, allow_none=True)
    every_s = fields.Number(0.001, 366 * 86_400, load_default=None, allow_none=True)
    limit = fields.Integer(1, MAX_ROWS, load_default=1000)


class SegmentOut(fields.Schema):
    """Samples without a gap; the i-th was taken at started_at + i / sample_rate_hz."""

    started_at = fields.DateTime()
    sample_rate_hz = fields.Number()
    values = Samples()


class RowOut(fields.Schema):
    """A value at a time, or an aggregate and the start of its interval."""

    time = fields.DateTime()
    value = fields.Number()


class SeriesOut(fields.Schema):
    """A window of a stream: `segments` or `rows`, as asked; what lies between segments is a gap."""

    stream_id = fields.Uuid()
    patient_id = fields.Uuid()
    signal_type = fields.Text()
    channel = fields.Text()
    unit = fields.Text()
    sample_rate_hz = fields.Number()
    segments = fields.ListOf(fields.Nested(SegmentOut))
    rows = fields.ListOf(fields.Nested(RowOut))


class PlotFilter(fields.Schema):
    """What to draw: `seconds` of a stream from `start`, perhaps with a mark at a time or over a span."""

    stream_id = fields.Uuid(required=True)
    start = fields.DateTime(required=True)
    seconds = fields.Number(1, 31 * 86_400, load_default=10.0)
    mark = fields.Text(max_length=80, load_default=None)
    mark_at = fields.DateTime(load_default=None)
    mark_until = fields.DateTime(load_default=None)


class BucketIn(fields.Schema):
    """A bucket to create; without `retention_days` it keeps its samples as long as the organisation keeps any."""

    name = fields.Text(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_.-]*\Z", required=True)
    retention_days = fields.Integer(1, 36_500, load_default=None, allow_none=True)


class BucketChange(fields.Schema):
    """How long a bucket keeps its samples; null: as long as the organisation keeps any."""

    retention_days = fields.Integer(1, 36_500, required=True, allow_none=True)


class BucketOut(BucketIn):
    """A bucket; `kept_days` is what holds: its own retention, or the organisation's where that is shorter."""

    kept_days = fields.Integer(allow_none=True)

    id = fields.Uuid()
    org_id = fields.Uuid()
    created_at = fields.DateTime()


class BucketFilter(PageFilter):
    """A page of buckets."""
