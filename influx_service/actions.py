"""Writes of the time-series service: samples into the engine, buckets into the table that the engine follows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from common.auth import Caller
from common.database import Database, notify
from common.errors import NotFound, ValidationFailed
from common.http import InternalClient
from common.outbox import record
from influx_service import queries
from influx_service.bindings import bindings_of
from influx_service.errors import BucketInUse, OutsideStream, SamplesInFuture, StreamNotBound, store_errors
from influx_service.events import TimeseriesWritten
from influx_service.models import Bucket, StreamBinding
from influx_service.stores import BucketNotFound, Point, Store
from influx_service.times import from_ns, to_ns

MAX_AHEAD = timedelta(minutes=10)
"""How far a device's clock may run ahead."""
EDGE = timedelta(seconds=5)
"""How far samples may reach over the ends of their stream: clocks differ."""


def write_timeseries(
    database: Database,
    client: InternalClient,
    store: Store,
    caller: Caller,
    stream_id: UUID,
    started_at: datetime | None,
    values: list[float] | None,
    points: list[dict[str, Any]] | None,
) -> dict[str, Any]:
    """Keep samples of a stream, then say so; the same samples again change nothing, so a failed call is repeated.

    Raises ValidationFailed, NotFound, StreamNotBound, OutsideStream, SamplesInFuture, InvalidSamples, Unavailable.
    """
    _check_shape(started_at, values, points)
    bindings = _writable(database, client, caller, stream_id)
    stream = bindings[0]
    if points is not None:
        times = [point["time"] for point in points]
        start, stop, count = min(times), max(times) + timedelta(microseconds=1), len(points)
        keep = partial(_keep_points, points=points)
    else:
        assert started_at is not None and values is not None
        start, count = started_at, len(values)
        stop = from_ns(to_ns(start) + round(count / stream.sample_rate_hz * 1e9))
        keep = partial(_keep_samples, start=start, values=values)
    _check_times(stream, start, stop)
    for binding in bindings:
        keep(database, store, caller, binding)
    written = {"stream_id": stream_id, "start": start, "stop": stop}
    with database.transaction(caller.org_id) as session:
        event = TimeseriesWritten(**written, patient_id=stream.patient_id, signal_type=stream.signal_type)
        record(session, caller, "timeseries.written", f"signal_streams:{stream_id}", {"count": count}, publish=event)
    return written | {"count": count}


def _writable(database: Database, client: InternalClient, caller: Caller, stream_id: UUID) -> list[StreamBinding]:
    """The places of a stream; to a device another one's stream is as absent as one that is not there."""
    if not caller.writes_as_device:
        return bindings_of(database, client, caller, stream_id)
    try:
        bindings = bindings_of(database, client, caller, stream_id)
    except StreamNotBound as error:
        raise NotFound from error
    if bindings[0].device_id != caller.device_id:
        raise NotFound
    return bindings


def _check_shape(started_at: Any, values: Any, points: Any) -> None:
    if points is not None:
        surplus = {"started_at": started_at, "values": values}
        details = [{"field": name, "issue": "unknown"} for name, value in surplus.items() if value is not None]
    else:
        needed = {"started_at": started_at, "values": values}
        details = [{"field": name, "issue": "required"} for name, value in needed.items() if value is None]
    if details:
        raise ValidationFailed(details=details)


def _check_times(stream: StreamBinding, start: datetime, stop: datetime) -> None:
    """Samples before a stream began may be those of another patient who had the device; none are taken."""
    if stop > datetime.now(UTC) + MAX_AHEAD:
        raise SamplesInFuture
    if start < stream.started_at - EDGE or (stream.ended_at is not None and stop > stream.ended_at + EDGE):
        ends = stream.ended_at.isoformat() if stream.ended_at else "…"
        raise OutsideStream(begins=stream.started_at.isoformat(), ends=ends)


def _keep_samples(
    database: Database,
    store: Store,
    caller: Caller,
    binding: StreamBinding,
    start: datetime,
    values: list[float],
) -> None:
    place = str(caller.org_id), binding.bucket
    series = binding.measurement, binding.tags
    _keep(
        database,
        store,
        caller,
        binding.bucket,
        lambda: store.write_samples(*place, *series, to_ns(start), binding.sample_rate_hz, values),
    )


def _keep_points(
    database: Database, store: Store, caller: Caller, binding: StreamBinding, points: list[dict[str, Any]]
) -> None:
    made = [
        Point(binding.measurement, binding.tags, {"value": float(point["value"])}, to_ns(point["time"]))
        for point in points
    ]
    _keep(database, store, caller, binding.bucket, lambda: store.write(str(caller.org_id), binding.bucket, made))


def _keep(database: Database, store: Store, caller: Caller, bucket: str, write: Callable[[], None]) -> None:
    """Write, making the bucket in the engine when the worker has not come to it yet."""
    with store_errors():
        try:
            write()
        except BucketNotFound:
            with database.transaction(caller.org_id) as session:
                retention = queries.find_retention(session, caller, bucket)
            store.put_bucket(str(caller.org_id), bucket, retention)
            write()


def create_bucket(session: Session, caller: Caller, name: str, retention_days: int | None) -> Bucket:
    """Create a bucket; a name in use is a conflict."""
    bucket = Bucket(org_id=caller.org_id, name=name, retention_days=retention_days)
    session.add(bucket)
    record(session, caller, "bucket.created", bucket, {"retention_days": retention_days})
    notify(session, "buckets")
    return bucket


def change_bucket(session: Session, caller: Caller, bucket_id: UUID, retention_days: int | None) -> Bucket:
    """Change how long a bucket keeps its samples; raises NotFound."""
    bucket = queries.get_bucket(session, caller, bucket_id)
    bucket.retention_days = retention_days
    record(session, caller, "bucket.changed", bucket, {"retention_days": retention_days})
    notify(session, "buckets")
    return bucket


def remove_bucket(session: Session, caller: Caller, bucket_id: UUID) -> None:
    """Remove a bucket and its samples, which the worker deletes; raises NotFound, BucketInUse."""
    bucket = queries.get_bucket(session, caller, bucket_id)
    if queries.is_in_use(session, bucket):
        raise BucketInUse
    bucket.deleted_at = datetime.now(UTC)
    record(session, caller, "bucket.removed", bucket)
    notify(session, "buckets")
