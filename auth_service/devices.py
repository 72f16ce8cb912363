"""Credentials of devices: a code that somebody reads to the device once, and the session that it opens.

A code is `sel1-secr-et23`: the first four letters say which one it is, the others prove it. So wrong ones are counted
against the code that they aim at, and against where they come from.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from auth_service import throttle
from auth_service.errors import InvalidPairingCode
from auth_service.models import DevicePairing, UserSession
from auth_service.second_factor import ALPHABET
from auth_service.sessions import device_access_token, open_family, revoke_sessions
from common.auth import Caller, device_subject
from common.outbox import record
from common.tokens import ACCESS_SECONDS, TokenSigner
from common.vault import Vault

LIFETIME, TRIES = timedelta(minutes=10), 5
SELECTOR, SECRET = 4, 8  # letters; 31^8 is 40 bits, for five tries in ten minutes


@dataclass(frozen=True, slots=True)
class Paired:
    """What a device gets."""

    access_token: str
    refresh_token: str
    device_id: UUID
    org_id: UUID
    token_type: str = "Bearer"
    expires_in: int = ACCESS_SECONDS


def issue_code(session: Session, caller: Caller, vault: Vault, device_id: UUID) -> dict[str, object]:
    """A code for a device of the calling service's organisation, in place of an earlier one; shown this once."""
    _forget_codes(session, caller, device_id)
    selector, secret = _letters(SELECTOR), _letters(SECRET)
    pairing = DevicePairing(
        org_id=caller.org_id,
        device_id=device_id,
        selector=selector,
        code_hash=vault.digest("pairing", str(device_id), secret),
        expires_at=datetime.now(UTC) + LIFETIME,
    )
    session.add(pairing)
    record(session, caller, "device.pairing_code_issued", f"devices:{device_id}")
    return {"code": f"{selector}-{secret[:4]}-{secret[4:]}", "expires_at": pairing.expires_at}


def pair(session: Session, caller: Caller, vault: Vault, signer: TokenSigner, code: str) -> Paired | InvalidPairingCode:
    """Open a device's session for its code, which is spent by that; an earlier session of the device is closed.

    Returns InvalidPairingCode, raises AccountLocked.
    """
    source = vault.digest("source", "pairing", caller.ip or "")
    plain = code.lower().replace("-", "").replace(" ", "")
    throttle.require_open(session, source)
    outcome = _redeem(session, caller, vault, signer, plain[:SELECTOR], plain[SELECTOR:])
    if isinstance(outcome, InvalidPairingCode):
        throttle.count_failure(session, source)
    else:
        throttle.forgive(session, source)
    return outcome


def _redeem(
    session: Session, caller: Caller, vault: Vault, signer: TokenSigner, selector: str, secret: str
) -> Paired | InvalidPairingCode:
    pairing = session.scalar(select(DevicePairing).where(DevicePairing.selector == selector).with_for_update())
    if pairing is None or pairing.expires_at <= datetime.now(UTC) or pairing.tries >= TRIES:
        record(session, caller, "device.pairing_failed", "devices")
        return InvalidPairingCode()
    caller = replace(caller, org_id=pairing.org_id)
    device = f"devices:{pairing.device_id}"
    hashes = vault.digests("pairing", str(pairing.device_id), secret)
    if not any([hmac.compare_digest(pairing.code_hash, made) for made in hashes]):
        pairing.tries += 1
        record(session, caller, "device.pairing_failed", device, {"tries": pairing.tries})
        return InvalidPairingCode()
    revoke_sessions(session, UserSession.device_id == pairing.device_id)
    session.delete(pairing)
    caller = replace(caller, subject=device_subject(pairing.device_id))
    family, token = open_family(session, caller, pairing.org_id, device_id=pairing.device_id)
    access_token = device_access_token(session, signer, family)
    return Paired(access_token, token, pairing.device_id, pairing.org_id)


def revoke(session: Session, caller: Caller, device_id: UUID) -> None:
    """End what a device of the caller's organisation holds, codes included: it is out within a second."""
    _forget_codes(session, caller, device_id)
    count = revoke_sessions(session, UserSession.device_id == device_id, UserSession.org_id == caller.org_id)
    record(session, caller, "device.credentials_revoked", f"devices:{device_id}", {"count": count})


def _forget_codes(session: Session, caller: Caller, device_id: UUID) -> None:
    of_device = DevicePairing.device_id == device_id, DevicePairing.org_id == caller.org_id
    session.execute(delete(DevicePairing).where(*of_device).execution_options(synchronize_session=False))


def _letters(count: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(count))
