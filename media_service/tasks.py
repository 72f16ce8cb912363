"""Background work of the media service: what nobody wants any more leaves the store."""

from __future__ import annotations

from sqlalchemy import delete, func, select, text

from common.auth import service_caller
from common.database import ALL_ORGANIZATIONS, Database
from common.outbox import record
from common.tasks import task
from media_service.actions import PURGE
from media_service.models import PENDING, MediaAsset
from media_service.storage import Storage

BATCH = 50
EVERY_S = 300.0
ABANDONED_AFTER = text("interval '1 day'")


@task(PURGE, every=EVERY_S)
def purge(database: Database, storage: Storage) -> int:
    """Remove the bytes of removed and abandoned files, then their rows; returns how many. Safe to repeat."""
    give_up_abandoned(database)
    due = select(MediaAsset).where(MediaAsset.removed_at.is_not(None)).order_by(MediaAsset.removed_at).limit(BATCH)
    with database.transaction(ALL_ORGANIZATIONS) as session:
        removed = list(session.scalars(due))
    for asset in removed:
        storage.remove(asset.object_name)
    if removed:
        gone = delete(MediaAsset).where(MediaAsset.id.in_([asset.id for asset in removed]))
        with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:  # audited when it was removed
            session.execute(gone)
    return len(removed)


def give_up_abandoned(database: Database) -> None:
    """Remove files that were announced and did not come."""
    old = MediaAsset.created_at < func.now() - ABANDONED_AFTER
    statement = select(MediaAsset).where(MediaAsset.status == PENDING, MediaAsset.removed_at.is_(None), old)
    with database.transaction(ALL_ORGANIZATIONS) as session:
        for asset in session.scalars(statement.limit(BATCH).with_for_update(skip_locked=True)):
            asset.remove()
            record(session, service_caller(database.service, asset.org_id), "media.abandoned", asset)
