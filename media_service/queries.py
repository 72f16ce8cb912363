"""Reads of the media service, within the caller's organisation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from common.auth import Caller
from common.care import in_care
from common.database import get_one
from common.pagination import Page, paginate
from media_service.models import PATIENT, READY, MediaAsset, MediaTag


def visible_assets(caller: Caller) -> Select[Any]:
    """The organisation's files, without those of patients whom the caller may not see.

    Caregivers and patients see their own, and those of the patients whom they may see.
    """
    statement = select(MediaAsset).where(MediaAsset.org_id == caller.org_id, MediaAsset.removed_at.is_(None))
    if caller.sees_every_patient:
        return statement
    shown = [
        MediaAsset.uploaded_by == caller.user_id,
        MediaAsset.owner_id == caller.user_id,
        and_(MediaAsset.owner_kind == PATIENT, in_care(caller, MediaAsset.owner_id)),
    ]
    if not caller.sees_linked_patients_only:
        shown.append(MediaAsset.owner_kind != PATIENT)
    return statement.where(or_(*shown))


def get_asset(session: Session, caller: Caller, media_id: UUID, *, lock: bool = False) -> MediaAsset:
    """One file; raises NotFound."""
    statement = visible_assets(caller).where(MediaAsset.id == media_id)
    return get_one(session, statement.with_for_update() if lock else statement)


def find_assets(
    session: Session,
    caller: Caller,
    limit: int,
    cursor: str | None,
    owner_kind: str | None = None,
    owner_id: UUID | None = None,
    tag: str | None = None,
) -> Page:
    """The files that have arrived, newest first."""
    statement = visible_assets(caller).where(MediaAsset.status == READY)
    if owner_kind is not None:
        statement = statement.where(MediaAsset.owner_kind == owner_kind)
    if owner_id is not None:
        statement = statement.where(MediaAsset.owner_id == owner_id)
    if tag is not None:
        statement = statement.where(MediaAsset.tags.any(MediaTag.tag == tag))
    return paginate(session, statement, MediaAsset.id, limit, cursor)
