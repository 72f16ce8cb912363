"""A file's way into and out of the store: what needs both the store and a transaction, one after the other."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from uuid6 import uuid7

from common.auth import Caller
from common.database import Database
from common.outbox import record
from media_service import queries
from media_service.config import Settings
from media_service.errors import NotUploaded, TooLarge
from media_service.models import READY, object_name
from media_service.storage import Storage, Stored


def sign(
    storage: Storage, settings: Settings, caller: Caller, *, content_type: str, size_bytes: int, **_: Any
) -> dict[str, Any]:
    """The id of a file to be announced and the link to send it to; raises TooLarge, NoStore, Unavailable."""
    if size_bytes > settings.max_media_bytes:
        raise TooLarge(max_bytes=settings.max_media_bytes)
    storage.require()
    media_id = uuid7()
    link = storage.upload_link(object_name(caller.org_id, media_id), content_type, size_bytes)
    return {
        "id": media_id,
        "method": link.method,
        "url": link.url,
        "headers": link.headers,
        "expires_at": link.expires_at,
    }


def find(database: Database, storage: Storage, caller: Caller, media_id: UUID) -> Stored | None:
    """What arrived of an announced file, None when nothing did; raises NotFound, Unavailable."""
    with database.transaction(caller.org_id) as session:
        asset = queries.get_asset(session, caller, media_id)
    return None if asset.status == READY else storage.find(asset.object_name)


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
