"""The second factor: time-based codes (RFC 6238) and the recovery codes that stand in for them once each."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

import pyotp
from sqlalchemy import delete
from sqlalchemy.orm import Session

from auth_service import queries
from auth_service.errors import BadCredentials, SecondFactorState
from auth_service.models import RecoveryCode, User
from common.auth import Caller
from common.errors import ApiError, SecondFactorDemanded
from common.outbox import record
from common.vault import Vault

ISSUER = "HeartGuard"
STEP_S, DRIFT_STEPS, CODE_DIGITS = 30, 1, 6
RECOVERY_CODES, RECOVERY_LETTERS = 10, 10
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that people confuse


def is_proved(session: Session, vault: Vault, user: User, code: str | None) -> bool:
    """True when `code` is the current one, or an unused recovery code, of a locked user; either counts once."""
    if code is None:
        return False
    if len(code) == CODE_DIGITS and code.isdigit():
        return _is_current(vault, user, code)
    hashes = vault.digests("recovery", str(user.id), _plain(code))
    spent = delete(RecoveryCode).where(RecoveryCode.user_id == user.id, RecoveryCode.code_hash.in_(hashes))
    return bool(session.execute(spent.returning(RecoveryCode.user_id)).all())


def _is_current(vault: Vault, user: User, code: str) -> bool:
    """True for the code of this step or a neighbour's; a step counts once, so an overheard code is worth nothing."""
    if user.totp_sealed is None:
        return False
    totp = pyotp.TOTP(vault.open(_purpose(user), user.totp_sealed).decode())
    now = int(time.time()) // STEP_S
    for step in range(now - DRIFT_STEPS, now + DRIFT_STEPS + 1):
        if secrets.compare_digest(totp.generate_otp(step), code):
            fresh = user.totp_last_step is None or step > user.totp_last_step
            if fresh:
                user.totp_last_step = step
            return fresh
    return False


def enrol(session: Session, caller: Caller, vault: Vault, user: User) -> dict[str, str] | ApiError:
    """Give a locked user a secret to confirm; returns it with the address that authenticator apps scan."""
    if user.second_factor:
        return SecondFactorState()
    secret = pyotp.random_base32()
    user.totp_sealed, user.totp_last_step = vault.seal(_purpose(user), secret.encode()), None
    record(session, caller, "second_factor.enrolled", user)
    return {"secret": secret, "uri": pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name=ISSUER)}


def confirm(session: Session, caller: Caller, vault: Vault, user: User, code: str) -> list[str]:
    """Switch the second factor on for a locked user who shows a first code; returns the recovery codes, once.

    Raises SecondFactorState, BadCredentials.
    """
    if user.second_factor or user.totp_sealed is None:
        raise SecondFactorState
    if not _is_current(vault, user, code):
        raise BadCredentials
    user.totp_confirmed_at = datetime.now(UTC)
    codes = ["".join(secrets.choice(ALPHABET) for _ in range(RECOVERY_LETTERS)) for _ in range(RECOVERY_CODES)]
    session.add_all(
        RecoveryCode(user_id=user.id, code_hash=vault.digest("recovery", str(user.id), code)) for code in codes
    )
    record(session, caller, "second_factor.confirmed", user)
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def disable(session: Session, caller: Caller, vault: Vault, user: User, code: str) -> None | ApiError:
    """Take the second factor away from a locked user who proves it a last time."""
    if not user.second_factor:
        return SecondFactorState()
    if queries.is_second_factor_required(session, user.org_id):
        return SecondFactorDemanded()
    if not is_proved(session, vault, user, code):
        return BadCredentials()
    remove(session, user)
    record(session, caller, "second_factor.disabled", user)
    return None


def remove(session: Session, user: User) -> None:
    """Forget a user's secret and recovery codes."""
    user.totp_sealed = user.totp_confirmed_at = user.totp_last_step = None
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))


def _purpose(user: User) -> str:
    return f"totp:{user.id}"


def _plain(code: str) -> str:
    return code.lower().replace("-", "")
