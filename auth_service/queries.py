"""Reads of the auth service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import Session

from auth_service.models import (
    ACTIVE,
    AccountMail,
    Membership,
    OrganizationRules,
    Permission,
    Platform,
    Revocation,
    Role,
    ServiceStatus,
    User,
    UserRole,
    UserSession,
    UserStatus,
)
from common.auth import Caller
from common.database import get_one
from common.errors import InvalidToken, NotFound
from common.pagination import Page, paginate

_ACCOUNT = ("id", "email", "name", "language", "status", "second_factor", "created_at", "updated_at")
CATALOGUES = {"user-statuses": UserStatus, "platforms": Platform, "service-statuses": ServiceStatus}


def find_user_by_email(session: Session, email: str, *, lock: bool = False) -> User | None:
    """The user with this address, in whatever organisation; None when there is none."""
    statement = select(User).where(User.email == email)
    return session.scalar(statement.with_for_update() if lock else statement)


def own_id(caller: Caller) -> UUID:
    """The calling user's account; raises InvalidToken for a service or a device, which have none."""
    if caller.user_id is None:
        raise InvalidToken
    return caller.user_id


def get_self(session: Session, caller: Caller, *, lock: bool = False) -> User:
    """The calling user's own account; raises InvalidToken for whoever is no user, or one who is gone."""
    user = session.get(User, own_id(caller), with_for_update=lock)
    if user is None:
        raise InvalidToken
    return user


def get_account_here(session: Session, caller: Caller) -> dict[str, Any]:
    """The calling user's account with the organisation, roles and permissions of the session; raises InvalidToken."""
    user = get_self(session, caller)
    account = {name: getattr(user, name) for name in _ACCOUNT}
    here = {"org_id": caller.org_id, "roles": sorted(caller.roles), "permissions": sorted(caller.permissions)}
    return account | here


def get_user(session: Session, caller: Caller, user_id: UUID, *, lock: bool = False) -> User:
    """One user of the caller's organisation; raises NotFound."""
    statement = select(User).where(User.org_id == caller.org_id, User.id == user_id)
    return get_one(session, statement.with_for_update() if lock else statement)


def find_users(
    session: Session,
    caller: Caller,
    limit: int,
    cursor: str | None,
    q: str | None = None,
    role: str | None = None,
    status: str | None = None,
) -> Page:
    """The users of the caller's organisation, newest first."""
    statement = select(User).where(User.org_id == caller.org_id)
    if q is not None:
        statement = statement.where(
            or_(User.name.icontains(q, autoescape=True), User.email.icontains(q, autoescape=True))
        )
    if role is not None:
        holds = exists().where(UserRole.user_id == User.id, UserRole.role_id == Role.id, Role.code == role)
        statement = statement.where(holds)
    if status is not None:
        statement = statement.where(User.status == status)
    return paginate(session, statement, User.id, limit, cursor)


def find_contacts(session: Session, caller: Caller, user_ids: Sequence[UUID]) -> list[User]:
    """Those of the given users who are active in the caller's organisation, guests included."""
    guest = exists().where(Membership.user_id == User.id, Membership.org_id == caller.org_id)
    statement = select(User).where(
        or_(User.org_id == caller.org_id, guest), User.id.in_(user_ids), User.status == ACTIVE
    )
    return list(session.scalars(statement.order_by(User.id)))


def is_second_factor_required(session: Session, org_id: UUID | None) -> bool:
    """True when an organisation lets nobody in without a second factor."""
    rules = session.get(OrganizationRules, org_id) if org_id is not None else None
    return rules is not None and rules.second_factor_required


def owes_second_factor(session: Session, user: User, org_id: UUID | None) -> bool:
    """True when an organisation asks for a second factor that the user does not have."""
    return not user.second_factor and is_second_factor_required(session, org_id)


def find_roles_in(session: Session, user: User, org_id: UUID | None) -> list[Role]:
    """What a user is in an organisation: the account's roles in its own, a guest's in another; none elsewhere."""
    if user.org_id == org_id:
        return user.held
    holds = exists().where(Membership.user_id == user.id, Membership.org_id == org_id, Membership.role_id == Role.id)
    return list(session.scalars(select(Role).where(holds)))


def find_sessions(session: Session, caller: Caller, limit: int, cursor: str | None) -> Page:
    """The calling user's live sessions, newest first."""
    statement = select(UserSession).where(UserSession.user_id == own_id(caller), UserSession.revoked_at.is_(None))
    return paginate(session, statement, UserSession.id, limit, cursor)


def get_role(session: Session, code: str, *, lock: bool = False, share: bool = False) -> Role:
    """One role, locked to `lock` its change or to `share` it as it is; raises NotFound."""
    statement = select(Role).where(Role.code == code)
    return get_one(session, statement.with_for_update(read=share) if lock or share else statement)


def find_roles(session: Session, limit: int, cursor: str | None) -> Page:
    """The roles, newest first."""
    return paginate(session, select(Role), Role.id, limit, cursor)


def find_permissions(session: Session) -> Page:
    """Every permission, sorted: a list that fits one page."""
    permissions = session.scalars(select(Permission).order_by(Permission.code)).all()
    return Page(permissions, limit=len(permissions))


def find_catalogue(session: Session, name: str) -> Page:
    """A catalogue by the name it has in the path; raises NotFound."""
    if name not in CATALOGUES:
        raise NotFound
    kind = CATALOGUES[name]
    entries = session.scalars(select(kind).order_by(kind.code)).all()
    return Page(entries, limit=len(entries))


def is_revoked(session: Session, subjects: Sequence[str], issued_at: float) -> bool:
    """True when one of `subjects` (see models.Revocation) was revoked after the token was issued (unix seconds)."""
    rows = session.execute(select(Revocation.before).where(Revocation.subject.in_(subjects)))
    return any(before is None or issued_at < before.timestamp() for (before,) in rows)


def get_letter(session: Session, caller: Caller, account_mail_id: UUID) -> tuple[AccountMail, User]:
    """A letter that is still worth sending, and to whom; raises NotFound.

    The caller's organisation is the letter's: none for a user who is in none.
    """
    statement = (
        select(AccountMail, User)
        .join(User, User.id == AccountMail.user_id)
        .where(
            AccountMail.id == account_mail_id,
            AccountMail.org_id == caller.org_id,
            AccountMail.used_at.is_(None),
            AccountMail.expires_at > func.now(),
        )
    )
    row = session.execute(statement).one_or_none()
    if row is None:
        raise NotFound
    return row.AccountMail, row.User
