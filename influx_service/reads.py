"""Windows of samples for people and services: who may see them, the trace in the audit, the engine, the drawing."""

from __future__ import annotations

import math
from array import array
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from common.auth import Caller
from common.database import Database
from common.errors import NotFound, ValidationFailed
from common.http import InternalClient
from common.outbox import record
from influx_service.bindings import bindings_of
from influx_service.errors import WindowTooLarge, store_errors
from influx_service.models import StreamBinding
from influx_service.plot import MAX_STRIP_SECONDS, Mark, Trend, strip_svg, trend_svg
from influx_service.stores import SECOND, Aggregate, BucketNotFound, Row, Segment, Store
from influx_service.times import from_ns, to_ns

MAX_SAMPLES = 200_000
WAVEFORM_HZ = 10
TREND_POINTS = 1_000
LABELS = {
    "ECG": "ECG",
    "HR": "Frecuencia cardiaca",
    "SpO2": "Saturación de oxígeno",
    "HRV": "Variabilidad de la frecuencia cardiaca",
    "BP": "Presión arterial",
    "TEMP": "Temperatura",
    "RESP": "Respiración",
}
CHANNELS = {"systolic": "sistólica", "diastolic": "diastólica", "mean": "media"}


def read_series(
    database: Database,
    client: InternalClient,
    store: Store,
    caller: Caller,
    stream_id: UUID,
    start: datetime,
    stop: datetime,
    form: str,
    aggregate: Aggregate | None,
    every_s: float | None,
    limit: int,
) -> dict[str, Any]:
    """A window of a stream as segments of samples or as rows.

    Raises ValidationFailed, NotFound, StreamNotBound, WindowTooLarge, Unavailable.
    """
    if start >= stop:
        raise ValidationFailed(details=[{"field": "stop", "issue": "order"}])
    if (every_s is not None and aggregate is None) or (form == "samples" and aggregate is not None):
        raise ValidationFailed(details=[{"field": "aggregate", "issue": "choice"}])
    stream = _opened(database, client, caller, stream_id)
    series = {
        name: getattr(stream, name)
        for name in ("stream_id", "patient_id", "signal_type", "channel", "unit", "sample_rate_hz")
    }
    if form == "samples":
        segments = [
            {
                "started_at": from_ns(segment.started_at),
                "sample_rate_hz": segment.sample_rate_hz,
                "values": segment.values,
            }
            for segment in _segments(store, stream, start, stop)
        ]
        return series | {"segments": segments}
    every = None if every_s is None else round(every_s * SECOND)
    rows = _rows(store, stream, start, stop, aggregate, every, limit)
    return series | {"rows": [{"time": from_ns(row.time), "value": row.fields["value"]} for row in rows]}


def draw_series(
    database: Database,
    client: InternalClient,
    store: Store,
    caller: Caller,
    stream_id: UUID,
    start: datetime,
    seconds: float,
    mark: str | None,
    mark_at: datetime | None,
    mark_until: datetime | None,
) -> str:
    """A window of a stream as SVG: a waveform as a strip, a vital sign as a trend.

    Raises ValidationFailed, NotFound, StreamNotBound, WindowTooLarge, Unavailable.
    """
    if (mark is None) != (mark_at is None):
        raise ValidationFailed(details=[{"field": "mark", "issue": "required"}])
    stream = _opened(database, client, caller, stream_id)
    stop = start + timedelta(seconds=seconds)
    channel = CHANNELS.get(stream.channel, stream.channel)
    title = f"{LABELS.get(stream.signal_type, stream.signal_type)} {channel}".strip()
    marks = []
    if mark is not None and mark_at is not None:
        marks = [Mark(to_ns(mark_at), mark, to_ns(mark_until) if mark_until else None)]
    if stream.sample_rate_hz >= WAVEFORM_HZ:
        if seconds > MAX_STRIP_SECONDS:
            raise WindowTooLarge
        samples = _on_grid(_segments(store, stream, start, stop), stream.sample_rate_hz, start, seconds)
        return strip_svg(samples, stream.sample_rate_hz, stream.unit, to_ns(start), marks, title=title)
    every = max(SECOND, round(seconds / TREND_POINTS * SECOND))
    rows = _rows(store, stream, start, stop, "mean", every, 2 * TREND_POINTS)
    trend = Trend(title, stream.unit, [(row.time, float(row.fields["value"])) for row in rows])
    return trend_svg([trend], to_ns(start), to_ns(stop), marks, title=title)


def _opened(database: Database, client: InternalClient, caller: Caller, stream_id: UUID) -> StreamBinding:
    """The stream, once the caller may see it and the audit knows that they did; services read for their pipeline."""
    stream = bindings_of(database, client, caller, stream_id)[0]
    if caller.is_service:
        return stream
    if not caller.sees(stream.patient_id):
        raise NotFound
    with database.transaction(caller.org_id) as session:
        record(session, caller, "timeseries.read", f"signal_streams:{stream_id}")
    return stream


def _segments(store: Store, stream: StreamBinding, start: datetime, stop: datetime) -> list[Segment]:
    if (stop - start).total_seconds() * stream.sample_rate_hz > MAX_SAMPLES:
        raise WindowTooLarge
    place = str(stream.org_id), stream.bucket, stream.measurement, stream.tags
    with store_errors():
        try:
            return store.read_samples(*place, to_ns(start), to_ns(stop))
        except BucketNotFound:  # nothing was written yet
            return []


def _rows(
    store: Store,
    stream: StreamBinding,
    start: datetime,
    stop: datetime,
    aggregate: Aggregate | None,
    every: int | None,
    limit: int,
) -> list[Row]:
    place = str(stream.org_id), stream.bucket, stream.measurement, stream.tags
    options: dict[str, Any] = {"fields": ["value"], "aggregate": aggregate, "every": every, "limit": limit}
    with store_errors():
        try:
            return store.query(*place, to_ns(start), to_ns(stop), **options)
        except BucketNotFound:  # nothing was written yet
            return []


def _on_grid(segments: list[Segment], rate: float, start: datetime, seconds: float) -> array:
    """One sample for each period of the window, NaN where there is none."""
    samples = array("d", [math.nan]) * max(1, round(seconds * rate))
    for segment in segments:
        first = round((segment.started_at - to_ns(start)) * rate / SECOND)
        values = segment.values[: len(samples) - first]
        samples[first : first + len(values)] = values
    return samples
