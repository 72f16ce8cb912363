"""Slows whoever guesses: ten failures in a quarter of an hour close an account to their source for another.

A source is an account, or an account on a device that it has logged in from before: a stranger's guesses lock
strangers out, not the owner's phone. An address that no account has is counted in the same way, so that nothing
tells the two apart.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from auth_service.errors import AccountLocked
from auth_service.models import LoginFailures
from common.vault import Vault

FAILURES, WINDOW, LOCK = 10, timedelta(minutes=15), timedelta(minutes=15)


def new_device_token(vault: Vault, email: str) -> str:
    """What a client keeps after a login and shows at the next, to be known as a device of this account."""
    nonce = secrets.token_urlsafe(16)
    return f"{nonce}.{vault.sign('device', email, nonce)}"


def source_of(vault: Vault, email: str, device_token: str | None = None) -> bytes:
    """Where an attempt comes from: the account, and its own device if it proves to be one."""
    nonce, _, signature = (device_token or "").partition(".")
    if device_token is not None and vault.verify(signature, "device", email, nonce):
        return vault.digest("source", email, nonce)
    return vault.digest("source", email)


def require_open(session: Session, source: bytes) -> None:
    """Raise AccountLocked while `source` is locked out."""
    row = session.get(LoginFailures, source, with_for_update=True, populate_existing=True)
    now = datetime.now(UTC)
    if row is not None and row.locked_until is not None and row.locked_until > now:
        raise AccountLocked(retry_after=int((row.locked_until - now).total_seconds()) + 1)


def count_failure(session: Session, source: bytes) -> bool:
    """Count a failure; True when this one locks the source out."""
    now = datetime.now(UTC)
    session.execute(insert(LoginFailures).values(source=source, count=0, since=now).on_conflict_do_nothing())
    row = session.get_one(LoginFailures, source, with_for_update=True, populate_existing=True)
    if row.since + WINDOW <= now:
        row.count, row.since, row.locked_until = 0, now, None
    row.count += 1
    if row.count == FAILURES:
        row.locked_until = now + LOCK
    return row.count == FAILURES


def forgive(session: Session, source: bytes) -> None:
    """Forget the failures of a source that has proved itself."""
    row = session.get(LoginFailures, source)
    if row is not None:
        session.delete(row)
