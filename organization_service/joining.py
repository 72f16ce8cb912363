"""How people come into an organisation: its roles, and invitations that are accepted once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from uuid6 import uuid7

from common.auth import Caller
from common.database import ALL_ORGANIZATIONS, Database
from common.errors import Forbidden, NotFound, ValidationFailed
from common.http import InternalClient
from common.outbox import record
from organization_service import queries
from organization_service.errors import InvitationOver, RoleBeyondReach
from organization_service.events import InvitationQueued
from organization_service.invitation_tokens import InvitationTokens, hash_of
from organization_service.models import BASE_ROLES, Organization, OrgInvitation, OrgRole


def create_role(session: Session, caller: Caller, organization_id: UUID, **values: Any) -> OrgRole:
    """Give one of the suite's roles a name of the organisation's own; raises NotFound, RoleBeyondReach."""
    organization = queries.get_organization(session, caller, organization_id)
    _check_reach(caller, values["base_role"])
    role = OrgRole(org_id=organization.id, **values)
    session.add(role)
    record(session, caller, "organization.role_created", role, {"code": role.code, "base_role": role.base_role})
    return role


def rename_role(session: Session, caller: Caller, organization_id: UUID, role_id: UUID, **values: Any) -> OrgRole:
    """Rename a role; raises NotFound."""
    role = queries.get_role(session, caller, organization_id, role_id)
    record(session, caller, "organization.role_renamed", role, role.change(**values))
    return role


def remove_role(session: Session, caller: Caller, organization_id: UUID, role_id: UUID) -> None:
    """Remove a role; who came in by it stays in. Raises NotFound."""
    role = queries.get_role(session, caller, organization_id, role_id)
    session.delete(role)
    record(session, caller, "organization.role_removed", role, {"code": role.code})


def invite(
    session: Session,
    caller: Caller,
    tokens: InvitationTokens,
    organization_id: UUID,
    email: str,
    role: str,
    valid_days: int,
    language: str | None,
) -> dict[str, Any]:
    """Invite somebody by a letter, in the organisation's language unless another is said; the answer has its token.

    Raises NotFound, ValidationFailed, RoleBeyondReach.
    """
    organization = queries.get_organization(session, caller, organization_id)
    base_role = _base_role(session, organization, role)
    _check_reach(caller, base_role)
    invitation_id = uuid7()
    token = tokens.make(invitation_id)
    invitation = OrgInvitation(
        id=invitation_id,
        org_id=organization.id,
        email=email,
        role=role,
        base_role=base_role,
        language=language or queries.get_settings(session, caller, organization.id).locale,
        token_hash=hash_of(token),
        invited_by=caller.user_id,
        expires_at=datetime.now(UTC) + timedelta(days=valid_days),
    )
    session.add(invitation)
    inviter = replace(caller, org_id=organization.id)
    letter = InvitationQueued(invitation_id=invitation.id)
    record(session, inviter, "organization.invited", invitation, {"role": role}, publish=letter)
    shown = ("id", "org_id", "email", "role", "language", "state", "expires_at", "created_at")
    return {name: getattr(invitation, name) for name in shown} | {"token": token}


def get_letter(session: Session, caller: Caller, tokens: InvitationTokens, invitation_id: UUID) -> dict[str, Any]:
    """What notification_service needs to send an invitation; raises NotFound once nobody can accept it any more."""
    invitation, organization = queries.get_invitation_to_send(session, caller, invitation_id)
    token = tokens.make_again(invitation.id, invitation.token_hash)
    if invitation.state != "pending" or token is None:
        raise NotFound
    return {
        "kind": "invitation",
        "email": invitation.email,
        "language": invitation.language,
        "organization": organization.name,
        "token": token,
        "expires_at": invitation.expires_at,
    }


def _base_role(session: Session, organization: Organization, role: str) -> str:
    if role in BASE_ROLES:
        return role
    own = queries.find_role_by_code(session, organization, role)
    if own is None:
        raise ValidationFailed(details=[{"field": "role", "issue": "choice"}])
    return own.base_role


def _check_reach(caller: Caller, base_role: str) -> None:
    if base_role == "org_admin" and not caller.roles & {"org_admin", "superadmin"}:
        raise RoleBeyondReach


def revoke_invitation(session: Session, caller: Caller, organization_id: UUID, invitation_id: UUID) -> None:
    """Take an invitation back; raises NotFound, InvitationOver when it was accepted."""
    invitation = queries.get_invitation(session, caller, organization_id, invitation_id)
    if invitation.used_at is not None:
        raise InvitationOver
    invitation.revoke()
    record(session, caller, "organization.invitation_revoked", invitation)


def accept_invitation(database: Database, client: InternalClient, caller: Caller, token: str) -> dict[str, Any]:
    """Join the organisation of an invitation; raises Forbidden for a service, NotFound, InvitationOver, Unavailable.

    The invitation is the caller's before the other services are asked: nobody else can take it meanwhile, and the
    caller can come again when one of them was away. Once it has let them in it gives nothing more: who has lost the
    role since does not get it back.
    """
    user_id = caller.user_id
    if user_id is None:
        raise Forbidden
    with database.transaction(ALL_ORGANIZATIONS) as session:
        invitation = queries.get_invitation_by_token(session, hash_of(token))
        member = replace(caller, org_id=invitation.org_id)
        if invitation.used_by != user_id:
            if invitation.state != "pending":
                raise InvitationOver
            invitation.accept(user_id)
            record(session, member, "organization.invitation_accepted", invitation, {"role": invitation.base_role})
    role = invitation.base_role
    if invitation.joined_at is None:
        client.post(member, "user", "/internal/memberships", {"user_id": user_id, "role": role})
        client.put(member, "auth", f"/internal/users/{user_id}/organization", {"role": role})
        with database.transaction(invitation.org_id, technical=True) as session:
            session.get_one(OrgInvitation, invitation.id, with_for_update=True).joined_at = datetime.now(UTC)
    return {"org_id": invitation.org_id, "role": role}
