"""Where a stream's samples are kept: known from the device service's events, or asked for when those are late."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid6 import uuid7

from common.auth import Caller
from common.database import Database, notify
from common.http import InternalClient
from common.permissions import Permission
from influx_service import queries
from influx_service.errors import StreamNotBound
from influx_service.models import Bucket, StreamBinding, StreamEnd

STANDARD_BUCKETS = ("heartguard_signals", "heartguard_predictions")
COLUMNS = (
    "stream_id",
    "device_id",
    "patient_id",
    "signal_type",
    "channel",
    "unit",
    "sample_rate_hz",
    "bucket",
    "measurement",
    "tags",
    "started_at",
)


def bindings_of(database: Database, client: InternalClient, caller: Caller, stream_id: UUID) -> list[StreamBinding]:
    """The places of a stream, at least one; what is unknown here is asked for once and kept.

    Raises NotFound for a stream that the organisation does not have, StreamNotBound.
    """
    with database.transaction(caller.org_id) as session:
        known = queries.find_bindings(session, caller, stream_id)
    if known:
        return known
    path = f"/streams/{stream_id}/bindings"
    told = client.get(caller, "device", path, permissions=[Permission.DEVICE_READ])
    if not told:
        raise StreamNotBound(stream_id=stream_id)
    with database.transaction(caller.org_id, technical=True) as session:
        for binding in told:
            keep_binding(session, caller, binding["id"], {name: binding[name] for name in COLUMNS})
            if binding.get("ended_at"):
                keep_end(session, caller, stream_id, datetime.fromisoformat(binding["ended_at"]))
        return queries.find_bindings(session, caller, stream_id)


def keep_binding(session: Session, caller: Caller, binding_id: UUID | str, values: dict[str, Any]) -> None:
    """Remember a stream's place, and make its bucket when the organisation has none, or is deleting it.

    With its first stream an organisation gets the standard buckets, too; what it does not want of them it may delete.
    """
    own = values["bucket"]
    for name in sorted({own, *STANDARD_BUCKETS}):
        bucket = insert(Bucket).values({"id": uuid7(), "org_id": caller.org_id, "name": name, "version": 1})
        identity = [Bucket.org_id, Bucket.name]
        revived = {"deleted_at": None, "version": Bucket.version + 1}
        deleted = Bucket.deleted_at.is_not(None)
        session.execute(
            bucket.on_conflict_do_update(index_elements=identity, set_=revived, where=deleted)
            if name == own
            else bucket.on_conflict_do_nothing(index_elements=identity)
        )
    row = {"id": binding_id, "org_id": caller.org_id, **values}
    session.execute(insert(StreamBinding).values(row).on_conflict_do_nothing())
    notify(session, "buckets")


def keep_end(session: Session, caller: Caller, stream_id: UUID, ended_at: datetime) -> None:
    """Remember when a stream ended."""
    row = {"stream_id": stream_id, "org_id": caller.org_id, "ended_at": ended_at}
    session.execute(insert(StreamEnd).values(row).on_conflict_do_nothing())
