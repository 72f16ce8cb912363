"""Proving who one is, by password and second factor.

A refusal is recorded and counted, which must be committed: the error is returned, not raised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from auth_service import queries, second_factor, throttle
from auth_service.errors import AccountInactive, BadCredentials, SecondFactorRequired
from auth_service.models import ACTIVE, User
from auth_service.passwords import PasswordHasher
from auth_service.sessions import SignedIn, access_token, open_family, open_for_enrolment
from common.auth import Caller
from common.database import ALL_ORGANIZATIONS, Database
from common.errors import ApiError
from common.outbox import record
from common.tokens import TokenSigner
from common.vault import Vault

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TriedPassword:
    """What hashing said of a password, outside a transaction: it counts while the account still has that hash."""

    email: str
    source: bytes
    stored: str | None
    proved: bool
    renewed: str | None


def try_password(
    database: Database, hasher: PasswordHasher, vault: Vault, email: str, password: str, device_token: str | None = None
) -> TriedPassword:
    """Hash the password given for an account, once, whether the account exists or not; raises AccountLocked."""
    source = throttle.source_of(vault, email, device_token)
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        throttle.require_open(session, source)
        user = queries.find_user_by_email(session, email)
        stored = user.password_hash if user else None
    proved = hasher.verify(stored, password)
    renewed = hasher.hash(password) if proved and stored and hasher.is_outdated(stored) else None
    return TriedPassword(email, source, stored, proved, renewed)


def log_in(
    session: Session,
    caller: Caller,
    vault: Vault,
    signer: TokenSigner,
    tried: TriedPassword,
    *,
    code: str | None = None,
    platform: str | None = None,
    **client: Any,
) -> SignedIn | ApiError:
    """Open a session; one that only lets a second factor be enrolled where the organisation waits for that.

    Returns or raises BadCredentials, AccountLocked, AccountInactive, SecondFactorRequired.
    """

    def open_session(session: Session, caller: Caller, user: User) -> SignedIn | ApiError:
        if user.second_factor and code is None:
            return SecondFactorRequired()
        if user.second_factor and not second_factor.is_proved(session, vault, user, code):
            return BadCredentials()
        if queries.owes_second_factor(session, user, user.org_id):
            return open_for_enrolment(session, caller, signer, user, platform)
        family, token = open_family(session, caller, user.org_id, user_id=user.id, platform=platform, **client)
        device = throttle.new_device_token(vault, user.email)
        return SignedIn(access_token(session, signer, user, family), token, user, family.org_id, device)

    return with_password(session, caller, vault, tried, open_session)


def with_password(
    session: Session,
    caller: Caller,
    vault: Vault,
    tried: TriedPassword,
    then: Callable[[Session, Caller, User], T | ApiError],
) -> T | ApiError:
    """Run `then(session, caller, user)` with the user locked, if the tried password is theirs.

    Returns BadCredentials, AccountInactive, and the error that `then` returns; raises AccountLocked.
    """
    user = queries.find_user_by_email(session, tried.email, lock=True)
    if user is not None:
        caller = replace(caller, org_id=user.org_id)
    throttle.require_open(session, tried.source)
    if user is None or not tried.proved or user.password_hash != tried.stored:
        return _refuse(session, caller, vault, user, tried)
    if user.status != ACTIVE:
        record(session, caller, "login.refused", user, {"status": user.status})
        return AccountInactive()
    outcome = then(session, replace(caller, subject=str(user.id)), user)
    if isinstance(outcome, BadCredentials):
        return _refuse(session, caller, vault, user, tried)
    if not isinstance(outcome, ApiError):
        throttle.forgive(session, tried.source)
        if tried.renewed is not None and user.password_hash == tried.stored:  # `then` may have set another password
            user.password_hash = tried.renewed
    return outcome


def _refuse(session: Session, caller: Caller, vault: Vault, user: User | None, tried: TriedPassword) -> BadCredentials:
    """Count and record a failure; the address itself is not written, its keyed hash tells attempts apart."""
    account = {"account": vault.digest("account", tried.email).hex()[:16]}
    record(session, caller, "login.failed", user or "users", account)
    if throttle.count_failure(session, tried.source):
        record(session, caller, "login.locked", user or "users", account)
    return BadCredentials()
