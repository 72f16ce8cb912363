"""Writes of the media service: one transaction each, with its audit event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from common.auth import Caller
from common.database import notify
from common.errors import NotFound
from common.outbox import record
from media_service import queries
from media_service.errors import NotAsAnnounced, NotUploaded
from media_service.models import PATIENT, PENDING, MediaAsset, MediaTag
from media_service.storage import Stored

PURGE = "purge"


def announce_upload(session: Session, caller: Caller, tags: Sequence[str], **values: Any) -> MediaAsset:
    """Announce a file that is to come; the caller then gets a link to send it to. Raises NotFound."""
    if values["owner_kind"] == PATIENT and not caller.sees(values["owner_id"]):
        raise NotFound
    asset = MediaAsset(org_id=caller.org_id, uploaded_by=caller.user_id, **values)
    asset.tags = [MediaTag(org_id=caller.org_id, tag=tag) for tag in dict.fromkeys(tags)]
    session.add(asset)
    details = {name: str(values[name]) for name in ("owner_kind", "owner_id", "content_type", "size_bytes")}
    record(session, caller, "media.announced", asset, details)
    return asset


def complete_upload(
    session: Session, caller: Caller, media_id: UUID, stored: Stored | None
) -> MediaAsset | NotAsAnnounced:
    """Accept the bytes that are in the store; a second time changes nothing. Raises NotFound, NotUploaded.

    Returns NotAsAnnounced for other bytes than were announced, which are discarded.
    """
    asset = queries.get_asset(session, caller, media_id, lock=True)
    if asset.status != PENDING:
        return asset
    if stored is None:
        raise NotUploaded
    if stored != Stored(asset.size_bytes, asset.content_type):
        _remove(session, caller, asset, "media.rejected")
        return NotAsAnnounced()
    record(session, caller, "media.completed", asset, asset.complete())
    return asset


def remove_asset(session: Session, caller: Caller, media_id: UUID) -> None:
    """Remove a file; raises NotFound."""
    _remove(session, caller, queries.get_asset(session, caller, media_id, lock=True), "media.removed")


def _remove(session: Session, caller: Caller, asset: MediaAsset, action: str) -> None:
    asset.remove()
    record(session, caller, action, asset)
    notify(session, PURGE)


def add_tag(session: Session, caller: Caller, media_id: UUID, tag: str) -> MediaAsset:
    """Put a tag on a file; a second time is a conflict. Raises NotFound."""
    asset = queries.get_asset(session, caller, media_id)
    asset.tags.append(MediaTag(org_id=asset.org_id, tag=tag))
    record(session, caller, "media.tagged", asset)
    return asset


def remove_tag(session: Session, caller: Caller, media_id: UUID, tag: str) -> None:
    """Take a tag off a file; raises NotFound."""
    asset = queries.get_asset(session, caller, media_id)
    found = next((item for item in asset.tags if item.tag == tag), None)
    if found is None:
        raise NotFound
    asset.tags.remove(found)
    record(session, caller, "media.untagged", asset)
