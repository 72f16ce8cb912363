"""A file's way into and out of the store: what needs both the store and a transaction, one after the other."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from common.auth import Caller
from common.database import Database
from common.outbox import record
from media_service import actions, queries
from media_service.config import Settings
from media_service.errors import NotAsAnnounced, NotUploaded, TooLarge
from media_service.models import READY, MediaAsset
from media_service.storage import Storage, Stored


def announce(database: Database, storage: Storage, settings: Settings, caller: Caller, **values: Any) -> dict[str, Any]:
    """Announce a file and sign the link to send it to; raises TooLarge, NoStore."""
    if values["size_bytes"] > settings.max_media_bytes:
        raise TooLarge(max_bytes=settings.max_media_bytes)
    storage.require()
    with database.transaction(caller.org_id) as session:
        asset = actions.announce_upload(session, caller, **values)
    link = storage.upload_link(asset.object_name, asset.content_type, asset.size_bytes)
    return {
        "id": asset.id,
        "method": link.method,
        "url": link.url,
        "headers": link.headers,
        "expires_at": link.expires_at,
    }


def complete(database: Database, storage: Storage, caller: Caller, media_id: UUID) -> MediaAsset:
    """Check that the file arrived as announced; raises NotFound, NotUploaded, NotAsAnnounced, Unavailable."""
    with database.transaction(caller.org_id) as session:
        asset = queries.get_asset(session, caller, media_id)
    if asset.status == READY:
        return asset
    stored = storage.find(asset.object_name)
    if stored is None:
        raise NotUploaded
    if stored != Stored(asset.size_bytes, asset.content_type):
        with database.transaction(caller.org_id) as session:
            actions.reject_upload(session, caller, media_id)
        raise NotAsAnnounced
    with database.transaction(caller.org_id) as session:
        return actions.complete_upload(session, caller, media_id)


def link_to(database: Database, storage: Storage, caller: Caller, media_id: UUID) -> str:
    """A link that gives the file, and the audit event of it; raises NotFound, NotUploaded, NoStore."""
    with database.transaction(caller.org_id) as session:
        asset = queries.get_asset(session, caller, media_id)
    if asset.status != READY:
        raise NotUploaded
    link = storage.download_link(asset.object_name, asset.filename)
    with database.transaction(caller.org_id) as session:
        record(session, caller, "media.downloaded", f"media_assets:{media_id}")
    return link
