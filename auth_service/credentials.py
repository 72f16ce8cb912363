"""Changing a password, and getting back in without it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from auth_service import queries, throttle
from auth_service.errors import InvalidResetToken
from auth_service.events import AccountMailQueued
from auth_service.models import ACTIVE, PASSWORD_CHANGED, PASSWORD_RESET, AccountMail, User, UserSession
from auth_service.passwords import PasswordHasher, require_strong
from auth_service.sessions import revoke_access, revoke_sessions
from auth_service.sign_in import TriedPassword, try_password, with_password
from common.auth import Caller
from common.database import ALL_ORGANIZATIONS, Database
from common.errors import ApiError
from common.outbox import record
from common.vault import Vault

RESET_LIFETIME = timedelta(minutes=30)
OPEN_RESETS = 3  # more letters than that in half an hour serve nobody but whoever wants to annoy


def hash_new(hasher: PasswordHasher, password: str, *known: str) -> str:
    """The hash of a new password; raises ValidationFailed for a weak one, Unavailable."""
    require_strong(password, *known)
    return hasher.hash(password)


def try_own_password(
    database: Database, caller: Caller, hasher: PasswordHasher, vault: Vault, password: str
) -> TriedPassword:
    """Like sign_in.try_password, for the calling user: a stolen access token alone changes no credential."""
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        email = queries.get_self(session, caller).email
    return try_password(database, hasher, vault, email, password)


def prepare_change(
    database: Database, caller: Caller, hasher: PasswordHasher, vault: Vault, current_password: str, password: str
) -> tuple[TriedPassword, str]:
    """The caller's password tried, and the hash of the next; raises ValidationFailed, AccountLocked, Unavailable."""
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        user = queries.get_self(session, caller)
    fresh = hash_new(hasher, password, user.email, user.name)
    return try_password(database, hasher, vault, user.email, current_password), fresh


def change_password(
    session: Session, caller: Caller, vault: Vault, tried: TriedPassword, fresh: str
) -> None | ApiError:
    """Give the caller another password and close their other sessions; returns what with_password returns."""

    def change(session: Session, caller: Caller, user: User) -> None:
        user.password_hash = fresh
        others = [UserSession.id != UUID(caller.session_id)] if caller.session_id else []
        revoke_sessions(session, UserSession.user_id == user.id, *others)
        _record_change(session, caller, user, "user.password_changed")

    return with_password(session, caller, vault, tried, change)


def request_reset(session: Session, caller: Caller, email: str) -> None:
    """Have a link mailed with which the password can be set anew; an unknown address gets the same silence."""
    user = queries.find_user_by_email(session, email, lock=True)
    if user is None or user.status != ACTIVE:
        return
    now = datetime.now(UTC)
    still_open = select(func.count()).where(
        AccountMail.user_id == user.id, AccountMail.kind == PASSWORD_RESET, AccountMail.expires_at > now
    )
    if session.execute(still_open).scalar_one() < OPEN_RESETS:
        mail = _queue_mail(session, user, PASSWORD_RESET)
        record(session, caller, "user.password_reset_requested", user, publish=mail)


def reset_token(vault: Vault, account_mail_id: UUID) -> str:
    """The token in the link of a letter: made when it is asked for, kept nowhere."""
    return f"{account_mail_id.hex}.{vault.sign('password reset', account_mail_id.hex)}"


@dataclass(frozen=True, slots=True)
class PreparedReset:
    """A letter whose token was shown, whose it is, and the hash of the password to come."""

    mail_id: UUID
    user_id: UUID
    fresh: str


def _usable(mail_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return AccountMail.id == mail_id, AccountMail.used_at.is_(None), AccountMail.expires_at > func.now()


def prepare_reset(database: Database, hasher: PasswordHasher, vault: Vault, token: str, password: str) -> PreparedReset:
    """Read the token of a letter and hash the new password; raises InvalidResetToken, ValidationFailed, Unavailable."""
    name, _, signature = token.partition(".")
    if not vault.verify(signature, "password reset", name):
        raise InvalidResetToken
    mail_id = UUID(hex=name)
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        user = session.scalar(select(User).join(AccountMail, AccountMail.user_id == User.id).where(*_usable(mail_id)))
    if user is None:
        raise InvalidResetToken
    return PreparedReset(mail_id, user.id, hash_new(hasher, password, user.email, user.name))


def reset_password(session: Session, caller: Caller, vault: Vault, prepared: PreparedReset) -> None:
    """Set the password, once for a letter, and close every session; raises InvalidResetToken."""
    user = session.get_one(User, prepared.user_id, with_for_update=True)
    spend = update(AccountMail).where(*_usable(prepared.mail_id)).values(used_at=func.now()).returning(AccountMail.id)
    if session.scalar(spend.execution_options(synchronize_session=False)) is None:
        raise InvalidResetToken
    user.password_hash = prepared.fresh
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
