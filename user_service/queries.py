"""Reads of the user service: oneself, or the members of the caller's organisation."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session

from common.auth import Caller
from common.database import get_one
from common.errors import Forbidden
from common.pagination import Page, paginate
from user_service.models import OrganizationRules, UserDevice, UserOrgMembership, UserPreferences, UserProfile
from user_service.ways import way_for


def own_id(caller: Caller) -> UUID:
    """The caller's account; raises Forbidden for a service, which has none."""
    if caller.user_id is None:
        raise Forbidden
    return caller.user_id


def _memberships(caller: Caller) -> Select[Any]:
    return select(UserOrgMembership).where(UserOrgMembership.org_id == caller.org_id)


def is_member(session: Session, caller: Caller, user_id: UUID) -> bool:
    """Whether a person has a role in the caller's organisation."""
    found = session.scalar(_memberships(caller).where(UserOrgMembership.user_id == user_id).limit(1))
    return found is not None


def get_profile(session: Session, user_id: UUID) -> UserProfile:
    """A person's profile, an empty one where nothing was said."""
    return session.get(UserProfile, user_id) or UserProfile.new(user_id)


def find_profiles(session: Session, caller: Caller, limit: int, cursor: str | None, q: str | None = None) -> Page:
    """The profiles of the organisation's members, newest accounts first."""
    member = exists().where(UserOrgMembership.user_id == UserProfile.id, UserOrgMembership.org_id == caller.org_id)
    statement = select(UserProfile).where(member)
    if q is not None:
        statement = statement.where(UserProfile.display_name.icontains(q, autoescape=True))
    return paginate(session, statement, UserProfile.id, limit, cursor)


def get_preferences(session: Session, user_id: UUID) -> UserPreferences:
    """A person's preferences, the defaults where nothing was said."""
    return session.get(UserPreferences, user_id) or UserPreferences.new(user_id)


def find_ways(
    session: Session, caller: Caller, user_ids: Collection[UUID], level: str, at: datetime
) -> list[dict[str, Any]]:
    """How to tell several people of an alarm, in the order asked for, those included who have not said anything."""
    rows = session.scalars(select(UserPreferences).where(UserPreferences.id.in_(user_ids)))
    known = {row.id: row for row in rows}
    rules = session.get(OrganizationRules, caller.org_id)
    return [way_for(known.get(user_id) or UserPreferences.new(user_id), rules, level, at) for user_id in user_ids]


def find_memberships(
    session: Session, caller: Caller, limit: int, cursor: str | None, user_id: UUID | None = None
) -> Page:
    """Who has which role in the caller's organisation, newest first."""
    statement = _memberships(caller)
    if user_id is not None:
        statement = statement.where(UserOrgMembership.user_id == user_id)
    return paginate(session, statement, UserOrgMembership.id, limit, cursor)


def find_own_memberships(session: Session, caller: Caller, limit: int, cursor: str | None) -> Page:
    """The caller's roles in every organisation, newest first."""
    statement = select(UserOrgMembership).where(UserOrgMembership.user_id == own_id(caller))
    return paginate(session, statement, UserOrgMembership.id, limit, cursor)


def get_membership(session: Session, caller: Caller, membership_id: UUID) -> UserOrgMembership:
    """One membership of the caller's organisation; raises NotFound."""
    return get_one(session, _memberships(caller).where(UserOrgMembership.id == membership_id))


def find_own_devices(session: Session, caller: Caller, limit: int, cursor: str | None) -> Page:
    """The caller's phones and browsers, newest first."""
    statement = select(UserDevice).where(UserDevice.user_id == own_id(caller))
    return paginate(session, statement, UserDevice.id, limit, cursor)


def get_own_device(session: Session, caller: Caller, device_id: UUID) -> UserDevice:
    """One of the caller's phones and browsers; raises NotFound."""
    return get_one(session, select(UserDevice).where(UserDevice.user_id == own_id(caller), UserDevice.id == device_id))
