"""Changing a password, and getting back in without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from auth_service import queries, throttle
from auth_service.errors import InvalidResetToken
from auth_service.events import AccountMailQueued
from auth_service.models import ACTIVE, PASSWORD_CHANGED, PASSWORD_RESET, AccountMail, User, UserSession
from auth_service.passwords import PasswordHasher, require_strong
from auth_service.sessions import revoke_access, revoke_sessions
from auth_service.sign_in import with_password
from auth_service.vault import Vault
from common.auth import Caller
from common.database import ALL_ORGANIZATIONS, Database
from common.errors import ApiError
from common.outbox import record

RESET_LIFETIME = timedelta(minutes=30)
OPEN_RESETS = 3  # more letters than that in half an hour serve nobody but whoever wants to annoy

T = TypeVar("T")


def with_own_password(
    database: Database,
    caller: Caller,
    hasher: PasswordHasher,
    vault: Vault,
    password: str,
    then: Callable[[Session, Caller, User], T | ApiError],
) -> T:
    """Like sign_in.with_password, for the calling user: a stolen access token alone changes no credential."""
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        email = queries.get_self(session, caller).email
    return with_password(database, caller, hasher, vault, email, password, then)


def change_password(
    database: Database, caller: Caller, hasher: PasswordHasher, vault: Vault, current_password: str, password: str
) -> None:
    """Change the caller's password and close their other sessions; raises what with_password raises."""
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        user = queries.get_self(session, caller)
    require_strong(password, user.email, user.name)
    fresh = hasher.hash(password)

    def change(session: Session, caller: Caller, user: User) -> None:
        user.password_hash = fresh
        others = [UserSession.id != UUID(caller.session_id)] if caller.session_id else []
        revoke_sessions(session, UserSession.user_id == user.id, *others)
        _record_change(session, caller, user, "user.password_changed")

    with_password(database, caller, hasher, vault, user.email, current_password, change)


def request_reset(session: Session, caller: Caller, email: str) -> None:
    """Have a link mailed with which the password can be set anew; an unknown address gets the same silence."""
    user = queries.find_user_by_email(session, email, lock=True)
    if user is None or user.status != ACTIVE:
        return
    now = datetime.now(UTC)
    still_open = select(func.count()).where(
        AccountMail.user_id == user.id, AccountMail.kind == PASSWORD_RESET, AccountMail.expires_at > now
    )
    if session.scalar(still_open) < OPEN_RESETS:
        mail = _queue_mail(session, user, PASSWORD_RESET)
        record(session, caller, "user.password_reset_requested", user, publish=mail)


def reset_token(vault: Vault, account_mail_id: UUID) -> str:
    """The token in the link of a letter: made when it is asked for, kept nowhere."""
    return f"{account_mail_id.hex}.{vault.sign('password reset', account_mail_id.hex)}"


def reset_password(
    database: Database, caller: Caller, hasher: PasswordHasher, vault: Vault, token: str, password: str
) -> None:
    """Set a password with the token of a letter, once, and close every session; raises InvalidResetToken."""
    name, _, signature = token.partition(".")
    if not vault.verify(signature, "password reset", name):
        raise InvalidResetToken
    mail_id = UUID(hex=name)
    usable = (AccountMail.id == mail_id, AccountMail.used_at.is_(None), AccountMail.expires_at > func.now())
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        user = session.scalar(select(User).join(AccountMail, AccountMail.user_id == User.id).where(*usable))
    if user is None:
        raise InvalidResetToken
    require_strong(password, user.email, user.name)
    fresh = hasher.hash(password)
    with database.transaction(ALL_ORGANIZATIONS) as session:
        user = session.get_one(User, user.id, with_for_update=True)
        spend = update(AccountMail).where(*usable).values(used_at=func.now()).returning(AccountMail.id)
        if session.scalar(spend.execution_options(synchronize_session=False)) is None:
            raise InvalidResetToken
        user.password_hash = fresh
        revoke_sessions(session, UserSession.user_id == user.id)
        revoke_access(session, user)
        throttle.forgive(session, throttle.source_of(vault, user.email))
        _record_change(session, replace(caller, subject=str(user.id)), user, "user.password_reset")


def cancel_resets(session: Session, user: User) -> None:
    """Make the links worthless that were mailed until now."""
    session.execute(
        update(AccountMail)
        .where(AccountMail.user_id == user.id, AccountMail.kind == PASSWORD_RESET, AccountMail.used_at.is_(None))
        .values(used_at=func.now())
        .execution_options(synchronize_session=False)
    )


def _record_change(session: Session, caller: Caller, user: User, action: str) -> None:
    """Audit a new password, and tell the owner of it."""
    cancel_resets(session, user)
    record(session, caller, action, user, publish=_queue_mail(session, user, PASSWORD_CHANGED))


def _queue_mail(session: Session, user: User, kind: str) -> AccountMailQueued:
    expires_at = datetime.now(UTC) + RESET_LIFETIME
    mail = AccountMail(user_id=user.id, org_id=user.org_id, kind=kind, expires_at=expires_at)
    session.add(mail)
    session.flush()
    return AccountMailQueued(account_mail_id=mail.id, user_id=user.id, kind=kind)


def get_letter(session: Session, caller: Caller, vault: Vault, account_mail_id: UUID) -> dict[str, Any]:
    """What notification_service needs to send a letter; raises NotFound once it is expired, used or gone."""
    mail, user = queries.get_letter(session, caller, account_mail_id)
    return {
        "kind": mail.kind,
        "email": user.email,
        "name": user.name,
        "language": user.language,
        "token": reset_token(vault, mail.id) if mail.kind == PASSWORD_RESET else None,
        "expires_at": mail.expires_at,
    }
