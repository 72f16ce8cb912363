"""Writes of the auth service that concern accounts and roles; sessions.py has those that concern sessions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import exists, or_, select, update
from sqlalchemy.orm import Session

from auth_service import queries
from auth_service.credentials import cancel_resets
from auth_service.errors import BeyondOwnPermissions, BuiltInRole, RoleOfDevices
from auth_service.models import ACTIVE, Membership, Permission, Role, RolePermission, User, UserRole, UserSession
from auth_service.roles import DEVICE, PATIENT, SUPERADMIN
from auth_service.sessions import revoke_access, revoke_sessions
from common.auth import Caller
from common.errors import Conflict, Forbidden, InvalidToken, NotFound, ValidationFailed
from common.outbox import record

_HOLDINGS = (UserRole, Membership)
"""In which tables a user holds a role."""

# --- accounts --------------------------------------------------------------------------------------------------------


def register_user(session: Session, caller: Caller, **values: Any) -> User:
    """Make the account of somebody who comes by themselves: a patient, in no organisation yet."""
    user = User(held=_get_roles(session, [PATIENT]), **values)
    session.add(user)
    record(session, caller, "user.registered", user, {"roles": user.roles})
    return user


def create_user(session: Session, caller: Caller, roles: list[str], **values: Any) -> User:
    """Make an account in the caller's organisation; raises ValidationFailed, BeyondOwnPermissions, RoleOfDevices."""
    granted = _get_roles(session, roles)
    _require_grantable(caller, granted)
    user = User(org_id=caller.org_id, held=granted, **values)
    session.add(user)
    record(session, caller, "user.created", user, {"roles": user.roles})
    return user


def change_user(session: Session, caller: Caller, user_id: UUID, **values: Any) -> User:
    """Change some fields of an account; raises NotFound, BeyondOwnPermissions."""
    user = _get_subordinate(session, caller, user_id)
    changed = user.change(**values)
    if "email" in changed:
        cancel_resets(session, user)
    record(session, caller, "user.changed", user, changed)
    return user


def set_status(session: Session, caller: Caller, user_id: UUID, status: str) -> User:
    """Activate or block somebody else; whoever is not active is out within a second. Raises NotFound, Forbidden."""
    user = _get_subordinate(session, caller, user_id, itself=False)
    user.status = status
    if status != ACTIVE:
        revoke_sessions(session, UserSession.user_id == user.id)
        revoke_access(session, user)
    record(session, caller, "user.status_set", user, {"status": status})
    return user


def grant_role(session: Session, caller: Caller, user_id: UUID, code: str) -> User:
    """Give somebody else a role; raises NotFound, Forbidden, BeyondOwnPermissions, RoleOfDevices."""
    role = queries.get_role(session, code, share=True)
    user = _get_subordinate(session, caller, user_id, itself=False)
    _require_grantable(caller, [role])
    if role not in user.held:
        user.held.append(role)
        revoke_access(session, user)
        record(session, caller, "user.role_granted", user, {"role": code})
    return user


def withdraw_role(session: Session, caller: Caller, user_id: UUID, code: str) -> None:
    """Take a role from somebody else; raises NotFound, Forbidden, BeyondOwnPermissions."""
    user = _get_subordinate(session, caller, user_id, itself=False)
    role = next((role for role in user.held if role.code == code), None)
    if role is None:
        raise NotFound
    user.held.remove(role)
    revoke_access(session, user)
    record(session, caller, "user.role_withdrawn", user, {"role": code})


def join_organization(session: Session, caller: Caller, user_id: UUID, role: str) -> User:
    """Give a user who agreed to it a role in the organisation of the calling service; raises NotFound.

    It becomes the account's own organisation where there was none. Somebody of another one is a guest, who comes in by
    sessions.switch_organization. A second time changes nothing.
    """
    granted = queries.get_role(session, role, share=True)
    user = session.get(User, user_id, with_for_update=True)
    if user is None or caller.org_id is None or granted.code in (SUPERADMIN, DEVICE):
        raise NotFound
    homeless = user.org_id is None and SUPERADMIN not in user.roles  # who administers all belongs to none
    if homeless:
        user.org_id = caller.org_id
        nowhere = UserSession.user_id == user.id, UserSession.org_id.is_(None)
        session.execute(update(UserSession).where(*nowhere).values(org_id=user.org_id))
    holds = granted in queries.find_roles_in(session, user, caller.org_id)
    if holds and not homeless:
        return user
    if user.org_id == caller.org_id:
        user.held += [] if holds else [granted]
    else:
        session.add(Membership(user_id=user.id, org_id=caller.org_id, role_id=granted.id))
    revoke_access(session, user)
    record(session, caller, "user.joined", user, {"role": role})
    return user


def leave_organization(session: Session, caller: Caller, user_id: UUID, code: str) -> None:
    """Take a role from a user in the organisation of the calling service; raises NotFound where there is none.

    A guest without any role is out: the sessions there are closed within a second.
    """
    user = session.get(User, user_id, with_for_update=True)
    roles = queries.find_roles_in(session, user, caller.org_id) if user and caller.org_id else []
    role = next((role for role in roles if role.code == code), None)
    if user is None or role is None:
        raise NotFound
    if user.org_id == caller.org_id:
        user.held.remove(role)
    else:
        session.delete(session.get_one(Membership, (user.id, caller.org_id, role.id)))
        if len(roles) == 1:
            revoke_sessions(session, UserSession.user_id == user.id, UserSession.org_id == caller.org_id)
    revoke_access(session, user)
    record(session, caller, "user.left", user, {"role": code})


def _get_subordinate(session: Session, caller: Caller, user_id: UUID, *, itself: bool = True) -> User:
    """A locked user of the caller's organisation who may do nothing that the caller may not."""
    user = queries.get_user(session, caller, user_id, lock=True)
    if not itself and user.id == caller.user_id:
        raise Forbidden
    _require_authority(caller, user.held)
    return user


def _require_authority(caller: Caller, roles: Iterable[Role]) -> None:
    for role in roles:
        if not caller.permissions.issuperset(role.permissions) or (
            role.code == SUPERADMIN and not caller.is_superadmin
        ):
            raise BeyondOwnPermissions


def _require_grantable(caller: Caller, roles: Iterable[Role]) -> None:
    """Raise RoleOfDevices, BeyondOwnPermissions: a person with the role of devices would write all streams."""
    if any(role.code == DEVICE for role in roles):
        raise RoleOfDevices
    _require_authority(caller, roles)


def _get_roles(session: Session, codes: list[str]) -> list[Role]:
    # Shared with other grants, but not with a change of the role itself, which has to find all who hold it.
    statement = select(Role).where(Role.code.in_(codes)).with_for_update(read=True)
    found = list(session.scalars(statement))
    if len(found) != len(set(codes)):
        raise ValidationFailed(details=[{"field": "roles", "issue": "choice"}])
    return found


# --- sessions --------------------------------------------------------------------------------------------------------


def log_out(session: Session, caller: Caller) -> None:
    """Close the caller's session."""
    if caller.session_id is None:
        raise InvalidToken
    session_id = UUID(caller.session_id)
    if not revoke_sessions(session, UserSession.id == session_id):
        raise NotFound
    record(session, caller, "session.closed", f"sessions:{session_id}")


def log_out_everywhere(session: Session, caller: Caller) -> None:
    """Close every session of the caller."""
    user = queries.get_self(session, caller, lock=True)
    count = revoke_sessions(session, UserSession.user_id == user.id)
    revoke_access(session, user)
    record(session, caller, "session.all_closed", user, {"count": count})


def close_session(session: Session, caller: Caller, session_id: UUID) -> None:
    """Close one of the caller's sessions; raises NotFound."""
    if not revoke_sessions(session, UserSession.id == session_id, UserSession.user_id == queries.own_id(caller)):
        raise NotFound
    record(session, caller, "session.closed", f"sessions:{session_id}")


# --- roles -----------------------------------------------------------------------------------------------------------


def create_role(session: Session, caller: Caller, permissions: list[str], **values: Any) -> Role:
    """Make a role; raises ValidationFailed, BeyondOwnPermissions; a second one of the same code is a conflict."""
    role = Role(grants=[RolePermission(permission=code) for code in sorted(set(permissions))], **values)
    _require_authority(caller, [role])
    session.add(role)
    record(session, caller, "role.created", role, {"role": role.code, "permissions": role.permissions})
    return role


def rename_role(session: Session, caller: Caller, code: str, name: str) -> Role:
    """Change a role's name; raises NotFound."""
    role = queries.get_role(session, code, lock=True)
    role.name = name
    record(session, caller, "role.renamed", role, {"role": code})
    return role


def remove_role(session: Session, caller: Caller, code: str) -> None:
    """Remove a role that nobody holds; raises NotFound, BuiltInRole, Conflict."""
    role = queries.get_role(session, code, lock=True)
    if role.built_in:
        raise BuiltInRole
    if any(session.scalar(select(kind.user_id).where(kind.role_id == role.id).limit(1)) for kind in _HOLDINGS):
        raise Conflict
    session.delete(role)
    record(session, caller, "role.removed", role, {"role": code})


def add_permission(session: Session, caller: Caller, code: str, permission: str) -> Role:
    """Put a permission into a role; raises NotFound, BuiltInRole, BeyondOwnPermissions."""
    role = _get_editable_role(session, caller, code, permission)
    if permission not in role.permissions:
        role.grants.append(RolePermission(permission=permission))
        _revoke_access_of(session, role)
        record(session, caller, "role.permission_added", role, {"role": code, "permission": permission})
    return role


def remove_permission(session: Session, caller: Caller, code: str, permission: str) -> None:
    """Take a permission out of a role; raises NotFound, BuiltInRole, BeyondOwnPermissions."""
    role = _get_editable_role(session, caller, code, permission)
    grant = next((grant for grant in role.grants if grant.permission == permission), None)
    if grant is None:
        raise NotFound
    role.grants.remove(grant)
    _revoke_access_of(session, role)
    record(session, caller, "role.permission_removed", role, {"role": code, "permission": permission})


def _get_editable_role(session: Session, caller: Caller, code: str, permission: str) -> Role:
    role = queries.get_role(session, code, lock=True)
    if session.get(Permission, permission) is None:
        raise NotFound
    if role.code == SUPERADMIN:
        raise BuiltInRole
    if permission not in caller.permissions:
        raise BeyondOwnPermissions
    return role


def _revoke_access_of(session: Session, role: Role) -> None:
    """Make everybody who holds `role` fetch new claims."""
    held = [exists().where(kind.user_id == User.id, kind.role_id == role.id) for kind in _HOLDINGS]
    for user in session.scalars(select(User).where(or_(*held)).order_by(User.id).with_for_update()):
        revoke_access(session, user)
