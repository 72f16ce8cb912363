"""Reads of the time-series service's own tables, within the caller's organisation."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from common.auth import Caller
from common.database import get_one
from common.errors import NotFound
from common.pagination import Page, paginate
from influx_service.models import Bucket, StreamBinding


def find_bindings(session: Session, caller: Caller, stream_id: UUID) -> list[StreamBinding]:
    """The places of a stream that are known here, the first one first."""
    statement = select(StreamBinding).where(StreamBinding.org_id == caller.org_id, StreamBinding.stream_id == stream_id)
    return list(session.scalars(statement.order_by(StreamBinding.id)))


def get_bucket(session: Session, caller: Caller, bucket_id: UUID) -> Bucket:
    """One bucket; raises NotFound."""
    statement = select(Bucket).where(
        Bucket.org_id == caller.org_id, Bucket.id == bucket_id, Bucket.deleted_at.is_(None)
    )
    return get_one(session, statement)


def find_buckets(session: Session, caller: Caller, limit: int, cursor: str | None) -> Page:
    """The buckets of the organisation, newest first."""
    statement = select(Bucket).where(Bucket.org_id == caller.org_id, Bucket.deleted_at.is_(None))
    return paginate(session, statement, Bucket.id, limit, cursor)


def find_retention(session: Session, caller: Caller, name: str) -> int | None:
    """How many seconds a bucket keeps its samples, None for ever; raises NotFound."""
    statement = select(Bucket).where(Bucket.org_id == caller.org_id, Bucket.name == name, Bucket.deleted_at.is_(None))
    bucket = session.scalar(statement)
    if bucket is None:
        raise NotFound
    return bucket.retention_seconds


def is_in_use(session: Session, bucket: Bucket) -> bool:
    """Whether streams that still run put their samples into a bucket."""
    running = exists().where(
        StreamBinding.org_id == bucket.org_id, StreamBinding.bucket == bucket.name, StreamBinding.ended_at.is_(None)
    )
    return bool(session.scalar(select(running)))
