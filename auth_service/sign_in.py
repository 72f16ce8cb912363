"""Proving who one is, by password and second factor.

A refusal is recorded and counted, which must be committed: the error is returned from the transaction and raised after
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from auth_service import queries, second_factor, throttle
from auth_service.errors import AccountInactive, BadCredentials, SecondFactorRequired
from auth_service.models import ACTIVE, User
from auth_service.passwords import PasswordHasher
from auth_service.sessions import SignedIn, access_token, open_family, open_for_enrolment
from auth_service.vault import Vault
from common.auth import Caller, TokenSigner
from common.database import ALL_ORGANIZATIONS, Database
from common.errors import ApiError
from common.outbox import record

T = TypeVar("T")


def log_in(
    database: Database,
    caller: Caller,
    hasher: PasswordHasher,
    vault: Vault,
    signer: TokenSigner,
    *,
    email: str,
    password: str,
    code: str | None = None,
    device_token: str | None = None,
    platform: str | None = None,
    **client: Any,
) -> SignedIn:
    """Open a session; one that only lets a second factor be enrolled where the organisation waits for that.

    Raises BadCredentials, AccountLocked, AccountInactive, SecondFactorRequired.
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

    return with_password(database, caller, hasher, vault, email, password, open_session, device_token)


def with_password(
    database: Database,
    caller: Caller,
    hasher: PasswordHasher,
    vault: Vault,
    email: str,
    password: str,
    then: Callable[[Session, Caller, User], T | ApiError],
    device_token: str | None = None,
) -> T:
    """Prove the password of an account, then run `then(session, caller, user)` with the user locked.

    One hash is computed whether the account exists or not, outside a transaction.
    Raises BadCredentials, AccountLocked, AccountInactive, and the error that `then` returns.
    """
    source = throttle.source_of(vault, email, device_token)
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        throttle.require_open(session, source)
        user = queries.find_user_by_email(session, email)
        stored = user.password_hash if user else None
    proved = hasher.verify(stored, password)
    renewed = hasher.hash(password) if proved and stored and hasher.is_outdated(stored) else None
    with database.transaction(ALL_ORGANIZATIONS) as session:
        user = queries.find_user_by_email(session, email, lock=True)
        if user is not None:
            caller = replace(caller, org_id=user.org_id)
        throttle.require_open(session, source)
        if user is None or not proved or user.password_hash != stored:
            outcome = _refuse(session, caller, vault, email, user, source)
        elif user.status != ACTIVE:
            record(session, caller, "login.refused", user, {"status": user.status})
            outcome = AccountInactive()
        else:
            outcome = then(session, replace(caller, subject=str(user.id)), user)
            if isinstance(outcome, BadCredentials):
                outcome = _refuse(session, caller, vault, email, user, source)
            elif not isinstance(outcome, ApiError):
                throttle.forgive(session, source)
                if renewed is not None and user.password_hash == stored:  # `then` may have set another password
                    user.password_hash = renewed
    if isinstance(outcome, ApiError):
        raise outcome
    return outcome


def _refuse(
    session: Session, caller: Caller, vault: Vault, email: str, user: User | None, source: bytes
) -> BadCredentials:
    """Count and record a failure; the address itself is not written, its keyed hash tells attempts apart."""
    account = {"account": vault.digest("account", email).hex()[:16]}
    record(session, caller, "login.failed", user or "users", account)
    if throttle.count_failure(session, source):
        record(session, caller, "login.locked", user or "users", account)
    return BadCredentials()
