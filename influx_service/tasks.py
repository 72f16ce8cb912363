"""Background work of the time-series service: the engine follows the table of buckets and forgets what is due."""

from __future__ import annotations

import time
from contextlib import suppress

from sqlalchemy import select

from common.database import ALL_ORGANIZATIONS, Database
from common.tasks import task
from influx_service.errors import store_errors
from influx_service.models import Bucket
from influx_service.stores import Bucket as EngineBucket
from influx_service.stores import BucketNotFound, Store


@task("buckets", every=300)
def follow_buckets(database: Database, store: Store) -> int:
    """Give the engine the buckets and retentions of the table, and take away what was deleted there."""
    with database.transaction(ALL_ORGANIZATIONS) as session:
        buckets = session.scalars(select(Bucket)).all()
    held: dict[str, list[EngineBucket]] = {}
    for bucket in buckets:
        place = str(bucket.org_id), bucket.name
        with store_errors():
            if bucket.deleted_at is None:
                if place[0] not in held:
                    held[place[0]] = store.buckets(place[0])
                if EngineBucket(bucket.name, bucket.retention_seconds) not in held[place[0]]:
                    store.put_bucket(*place, bucket.retention_seconds)
                continue
            with suppress(BucketNotFound):  # never written to, or a repeat of this
                store.delete_bucket(*place)
        with database.transaction(bucket.org_id, technical=True) as session:
            session.delete(bucket)
    return 0


@task("retention", every=3600)
def forget_expired(store: Store) -> int:
    """Delete samples that are older than their bucket keeps them."""
    with store_errors():
        store.expire(time.time_ns())
    return 0
