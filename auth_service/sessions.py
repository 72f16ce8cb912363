"""The sessions of users and devices: opened, moved to another organisation, renewed by rotation, revoked.

Rows are locked in one order: user, session, refresh token. Whatever changes what a user may do locks the user first,
so that no access token with the old permissions is made after the revocation of those that exist.

Where a refusal leaves a trace that must be committed, the error is returned, not raised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from auth_service import queries, tokens
from auth_service.errors import RefreshTokenReused
from auth_service.models import ACTIVE, RefreshToken, Revocation, User, UserSession
from auth_service.roles import DEVICE, DEVICE_PERMISSIONS
from common.auth import ENROLMENT, Caller, device_subject
from common.database import notify
from common.errors import ApiError, InvalidToken, NotFound, SecondFactorDemanded
from common.outbox import record
from common.tokens import ACCESS_SECONDS, TokenSigner

REFRESH_LIFETIME = timedelta(days=7)
# An answer lost on the way must not log a phone out: for so long a used token brings the same successor again.
REPLAY_WINDOW = timedelta(seconds=10)
MIRROR = "revocations"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a client gets: tokens, and who it is; a device is no user."""

    access_token: str
    refresh_token: str | None
    user: User | None
    org_id: UUID | None
    device_token: str | None = None
    restriction: str | None = None
    token_type: str = "Bearer"
    expires_in: int = ACCESS_SECONDS


# --- opening ---------------------------------------------------------------------------------------------------------


def open_family(
    session: Session,
    caller: Caller,
    org_id: UUID | None,
    *,
    user_id: UUID | None = None,
    device_id: UUID | None = None,
    platform: str | None = None,
    **client: Any,
) -> tuple[UserSession, str]:
    """A new session of a user or a device in an organisation, and its first refresh token."""
    family = UserSession(
        user_id=user_id,
        device_id=device_id,
        org_id=org_id,
        platform=platform,
        user_agent=caller.user_agent,
        ip=caller.ip,
        expires_at=datetime.now(UTC) + REFRESH_LIFETIME,
    )
    session.add(family)
    session.flush()
    token = tokens.new_token()
    session.add(_refresh_token(family, token, caller, **client))
    record(session, replace(caller, org_id=org_id), "session.opened", family)
    return family, token


def open_for_enrolment(
    session: Session, caller: Caller, signer: TokenSigner, user: User, platform: str | None
) -> SignedIn:
    """A session of one access token, which ends with it and opens nothing but the enrolment."""
    family = UserSession(
        user_id=user.id,
        org_id=user.org_id,
        platform=platform,
        user_agent=caller.user_agent,
        ip=caller.ip,
        expires_at=datetime.now(UTC) + timedelta(seconds=ACCESS_SECONDS),
    )
    session.add(family)
    record(session, caller, "session.opened_for_enrolment", family)
    token = signer.sign(
        str(user.id), seconds=ACCESS_SECONDS, org_id=user.org_id, session_id=str(family.id), scope=ENROLMENT
    )
    return SignedIn(token, None, user, user.org_id, restriction=ENROLMENT)


# --- changing the organisation ---------------------------------------------------------------------------------------


def switch_organization(session: Session, caller: Caller, signer: TokenSigner, org_id: UUID) -> SignedIn:
    """Leave the caller's session for one in another organisation of theirs.

    The old session is closed with all its tokens: one client acts in one organisation at a time.
    Raises InvalidToken, NotFound for an organisation in which the caller holds no role, SecondFactorDemanded.
    """
    if caller.session_id is None:
        raise InvalidToken
    user = queries.get_self(session, caller, lock=True)
    family = session.get(UserSession, UUID(caller.session_id), with_for_update=True)
    if family is None or family.user_id != user.id or family.revoked_at is not None or user.status != ACTIVE:
        raise InvalidToken
    if not queries.find_roles_in(session, user, org_id):
        raise NotFound
    if queries.owes_second_factor(session, user, org_id):
        raise SecondFactorDemanded
    told = select(RefreshToken.client_id, RefreshToken.device_fingerprint).where(RefreshToken.session_id == family.id)
    client = session.execute(told.order_by(RefreshToken.issued_at.desc()).limit(1)).one()._asdict()
    revoke_sessions(session, UserSession.id == family.id)
    left = replace(caller, org_id=family.org_id)
    record(session, left, "session.closed", family, {"reason": "organization_switched"})
    opened, token = open_family(session, caller, org_id, user_id=user.id, platform=family.platform, **client)
    return SignedIn(access_token(session, signer, user, opened), token, user, org_id)


# --- renewing --------------------------------------------------------------------------------------------------------


def renew(session: Session, caller: Caller, signer: TokenSigner, refresh_token: str) -> SignedIn | ApiError:
    """Exchange a refresh token for its successor and a fresh access token.

    Returns InvalidToken, and RefreshTokenReused with the session revoked.
    """
    key = tokens.hash_of(refresh_token)
    owner = session.execute(
        select(UserSession.user_id, UserSession.id)
        .join(RefreshToken, RefreshToken.session_id == UserSession.id)
        .where(RefreshToken.token_hash == key)
    ).one_or_none()
    if owner is None:
        return InvalidToken()
    user = session.get(User, owner.user_id, with_for_update={"read": True}) if owner.user_id else None
    family = session.get(UserSession, owner.id, with_for_update=True)
    held = session.get(RefreshToken, key)
    now = datetime.now(UTC)
    if family is None or held is None or family.revoked_at is not None or held.expires_at <= now:
        return InvalidToken()
    if user is None and family.device_id is None:
        return InvalidToken()
    subject = str(user.id) if user else device_subject(family.device_id)
    caller = replace(caller, subject=subject, org_id=family.org_id, session_id=str(family.id))
    if user is not None and queries.owes_second_factor(session, user, family.org_id):
        revoke_sessions(session, UserSession.id == family.id)
        record(session, caller, "session.closed", family, {"reason": "second_factor_required"})
        return InvalidToken()
    if held.used_at is None:  # nobody else is at it: the session is locked
        successor = tokens.new_token()
        held.used_at, held.successor_sealed = now, tokens.seal_successor(refresh_token, successor)
        family.last_used_at, family.expires_at, family.ip = now, now + REFRESH_LIFETIME, caller.ip
        client = {"client_id": held.client_id, "device_fingerprint": held.device_fingerprint}
        session.add(_refresh_token(family, successor, caller, **client))
        record(session, caller, "session.renewed", family)
        return SignedIn(access_token(session, signer, user, family), successor, user, family.org_id)
    if held.successor_sealed is not None and held.used_at + REPLAY_WINDOW > now:
        again = tokens.open_successor(refresh_token, held.successor_sealed)
        return SignedIn(access_token(session, signer, user, family), again, user, family.org_id)
    revoke_sessions(session, UserSession.id == family.id)
    record(session, caller, "session.reuse_detected", family)
    return RefreshTokenReused()


def _refresh_token(family: UserSession, token: str, caller: Caller, **client: Any) -> RefreshToken:
    now = datetime.now(UTC)
    return RefreshToken(
        token_hash=tokens.hash_of(token),
        session_id=family.id,
        issued_at=now,
        expires_at=now + REFRESH_LIFETIME,
        ip=caller.ip,
        **client,
    )


def access_token(session: Session, signer: TokenSigner, user: User | None, family: UserSession) -> str:
    """A token for a session, with what its roles allow now; without `user` the session is a device's."""
    if user is None:
        return device_access_token(session, signer, family)
    roles = queries.find_roles_in(session, user, family.org_id)
    return signer.sign(
        str(user.id),
        seconds=ACCESS_SECONDS,
        org_id=family.org_id,
        roles=[role.code for role in roles],
        permissions={permission for role in roles for permission in role.permissions},
        session_id=str(family.id),
    )


def device_access_token(session: Session, signer: TokenSigner, family: UserSession) -> str:
    """A token with which a device writes its own streams, whatever else somebody has put into its role."""
    role = queries.get_role(session, DEVICE)
    return signer.sign(
        device_subject(family.device_id),
        seconds=ACCESS_SECONDS,
        org_id=family.org_id,
        roles=[role.code],
        permissions=DEVICE_PERMISSIONS.intersection(role.permissions),
        session_id=str(family.id),
    )


# --- revoking --------------------------------------------------------------------------------------------------------


def revoke_sessions(session: Session, *which: ColumnElement[bool]) -> int:
    """Revoke the live sessions that `which` selects, with their refresh and access tokens; returns how many."""
    now = datetime.now(UTC)
    families = session.scalars(
        update(UserSession)
        .where(UserSession.revoked_at.is_(None), *which)
        .values(revoked_at=now)
        .returning(UserSession.id)
        .execution_options(synchronize_session=False)
    ).all()
    session.execute(
        update(RefreshToken)
        .where(RefreshToken.session_id.in_(families), RefreshToken.revoked_at.is_(None))
        .values(revoked_at=now)
        .execution_options(synchronize_session=False)
    )
    session.add_all(Revocation(subject=f"session:{family}") for family in families)
    notify(session, MIRROR)
    return len(families)


def revoke_access(session: Session, user: User) -> None:
    """Refuse the access tokens that a locked user holds now: the client must renew them and gets new claims."""
    session.add(Revocation(subject=f"user:{user.id}", before=datetime.now(UTC)))
    notify(session, MIRROR)
