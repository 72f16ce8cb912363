"""Writes of the user service: one transaction each, with its audit event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid6 import uuid7

from common.auth import Caller
from common.errors import ValidationFailed
from common.outbox import record
from user_service import queries
from user_service.errors import HalfQuietHours, RoleBeyondReach
from user_service.models import UserDevice, UserOrgMembership, UserPreferences, UserProfile

_BELOW_ADMIN = frozenset({"clinician", "caregiver", "patient", "org_viewer"})


def change_own_profile(session: Session, caller: Caller, **values: Any) -> UserProfile:
    """Change some fields of one's own profile; raises Forbidden for a service."""
    user_id = queries.own_id(caller)
    _remember_oneself(session, caller)
    return _change_profile(session, caller, user_id, values)


def change_member(
    session: Session, caller: Caller, user_id: UUID, new_roles: Iterable[str], **values: Any
) -> UserProfile:
    """Change some fields of a member's profile; `new_roles` are those found by directory.find_new_roles."""
    _remember_member(session, caller.org_id, user_id, new_roles)
    return _change_profile(session, caller, user_id, values)


def _change_profile(session: Session, caller: Caller, user_id: UUID, values: dict[str, Any]) -> UserProfile:
    profile = queries.get_profile(session, user_id)
    changed = profile.change(**values)
    session.add(profile)
    record(session, caller, "user.profile_changed", profile, changed)
    return profile


def _remember_oneself(session: Session, caller: Caller) -> None:
    """What belongs to a person is shown to the organisations that they are known to be in, and to no other."""
    if caller.org_id is not None and not caller.is_superadmin:  # a superadmin may name any organisation
        _remember_member(session, caller.org_id, queries.own_id(caller), caller.roles)


def _remember_member(session: Session, org_id: UUID | None, user_id: UUID, roles: Iterable[str]) -> int:
    """Remember roles; returns how many were new."""
    rows = [{"id": uuid7(), "org_id": org_id, "user_id": user_id, "role": role, "version": 1} for role in roles]
    if not rows:
        return 0
    statement = insert(UserOrgMembership).values(rows).on_conflict_do_nothing().returning(UserOrgMembership.id)
    return len(session.execute(statement).all())


def change_preferences(session: Session, caller: Caller, **values: Any) -> UserPreferences:
    """Change some of one's own preferences; raises Forbidden, ValidationFailed, HalfQuietHours."""
    preferences = queries.get_preferences(session, queries.own_id(caller))
    _remember_oneself(session, caller)
    if "timezone" in values:
        _check_timezone(values["timezone"])
    if "channels" in values:
        values["channels"] = list(dict.fromkeys(values["channels"]))
    changed = preferences.change(**values)
    if (preferences.quiet_from is None) != (preferences.quiet_until is None):
        raise HalfQuietHours
    session.add(preferences)
    record(session, caller, "user.preferences_changed", preferences, {name: values[name] for name in changed})
    return preferences


def _check_timezone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValidationFailed(details=[{"field": "timezone", "issue": "choice"}]) from error


def add_membership(session: Session, caller: Caller, user_id: UUID, role: str) -> UserOrgMembership:
    """Note another role of somebody of the organisation; a second time is a conflict."""
    membership = UserOrgMembership(org_id=caller.org_id, user_id=user_id, role=role)
    session.add(membership)
    record(session, caller, "user.membership_added", membership, {"user_id": str(user_id), "role": role})
    return membership


def join(session: Session, caller: Caller, user_id: UUID, role: str) -> bool:
    """Remember a role that somebody was invited to; False when they had it."""
    joined = _remember_member(session, caller.org_id, user_id, [role]) > 0
    details = {"role": role, "new": joined}
    record(session, caller, "user.joined", f"users:{user_id}", details)
    return joined


def remove_membership(session: Session, caller: Caller, membership_id: UUID) -> None:
    """Forget a role of somebody in the organisation; raises NotFound."""
    membership = queries.get_membership(session, caller, membership_id)
    session.delete(membership)
    details = {"user_id": str(membership.user_id), "role": membership.role}
    record(session, caller, "user.membership_removed", membership, details)


def require_reach(caller: Caller, role: str) -> None:
    """Raise RoleBeyondReach for a role that the caller may not give or take."""
    below = _BELOW_ADMIN if "org_admin" in caller.roles else frozenset()
    if not caller.is_superadmin and role not in caller.roles | below:
        raise RoleBeyondReach


def add_device(session: Session, caller: Caller, **values: Any) -> UserDevice:
    """Remember a phone or browser of the caller; a second time is a conflict."""
    device = UserDevice(user_id=queries.own_id(caller), **values)
    session.add(device)
    record(session, caller, "user.device_added", device, {"platform": device.platform})
    return device


def remove_device(session: Session, caller: Caller, device_id: UUID) -> None:
    """Forget a phone or browser of the caller; raises NotFound."""
    device = queries.get_own_device(session, caller, device_id)
    session.delete(device)
    record(session, caller, "user.device_removed", device)
