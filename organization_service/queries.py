"""Reads of the organization service: one's own organisation, or all for a superadmin who names none."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from common.auth import Caller
from common.database import get_one
from common.errors import NotFound
from common.pagination import Page, paginate
from organization_service.models import Organization, OrgBrand, OrgContact, OrgInvitation, OrgRole, OrgSettings


def visible_organizations(caller: Caller) -> Select[Any]:
    """The organisations the caller may see; removed ones are gone for everybody."""
    statement = select(Organization).where(Organization.removed_at.is_(None))
    if caller.is_superadmin and caller.org_id is None:
        return statement
    return statement.where(Organization.id == caller.org_id)


def get_organization(session: Session, caller: Caller, organization_id: UUID) -> Organization:
    """One organisation; raises NotFound."""
    return get_one(session, visible_organizations(caller).where(Organization.id == organization_id))


def find_organizations(
    session: Session, caller: Caller, limit: int, cursor: str | None, q: str | None = None, code: str | None = None
) -> Page:
    """The organisations the caller may see, newest first."""
    statement = visible_organizations(caller)
    if q is not None:
        statement = statement.where(Organization.name.icontains(q, autoescape=True))
    if code is not None:
        statement = statement.where(Organization.code == code)
    return paginate(session, statement, Organization.id, limit, cursor)


def get_settings(session: Session, caller: Caller, organization_id: UUID) -> OrgSettings:
    """The rules of an organisation; raises NotFound."""
    organization = get_organization(session, caller, organization_id)
    return session.scalars(select(OrgSettings).where(OrgSettings.org_id == organization.id)).one()


def get_brand(session: Session, caller: Caller, organization_id: UUID) -> OrgBrand:
    """The looks of an organisation; raises NotFound."""
    organization = get_organization(session, caller, organization_id)
    return session.scalars(select(OrgBrand).where(OrgBrand.org_id == organization.id)).one()


def _part(session: Session, caller: Caller, model: Any, organization_id: UUID, part_id: UUID) -> Any:
    organization = get_organization(session, caller, organization_id)
    return get_one(session, select(model).where(model.org_id == organization.id, model.id == part_id))


def _parts(session: Session, caller: Caller, model: Any, organization_id: UUID, limit: int, cursor: str | None) -> Page:
    organization = get_organization(session, caller, organization_id)
    return paginate(session, select(model).where(model.org_id == organization.id), model.id, limit, cursor)


def find_contacts(session: Session, caller: Caller, organization_id: UUID, limit: int, cursor: str | None) -> Page:
    """The contacts of an organisation, newest first; raises NotFound."""
    return _parts(session, caller, OrgContact, organization_id, limit, cursor)


def get_contact(session: Session, caller: Caller, organization_id: UUID, contact_id: UUID) -> OrgContact:
    """One contact; raises NotFound."""
    return _part(session, caller, OrgContact, organization_id, contact_id)


def find_roles(session: Session, caller: Caller, organization_id: UUID, limit: int, cursor: str | None) -> Page:
    """The roles of an organisation, newest first; raises NotFound."""
    return _parts(session, caller, OrgRole, organization_id, limit, cursor)


def get_role(session: Session, caller: Caller, organization_id: UUID, role_id: UUID) -> OrgRole:
    """One role; raises NotFound."""
    return _part(session, caller, OrgRole, organization_id, role_id)


def find_role_by_code(session: Session, organization: Organization, code: str) -> OrgRole | None:
    """The organisation's role of this code, if any."""
    return session.scalar(select(OrgRole).where(OrgRole.org_id == organization.id, OrgRole.code == code))


def find_invitations(session: Session, caller: Caller, organization_id: UUID, limit: int, cursor: str | None) -> Page:
    """The invitations of an organisation, newest first; raises NotFound."""
    return _parts(session, caller, OrgInvitation, organization_id, limit, cursor)


def get_invitation(session: Session, caller: Caller, organization_id: UUID, invitation_id: UUID) -> OrgInvitation:
    """One invitation; raises NotFound."""
    return _part(session, caller, OrgInvitation, organization_id, invitation_id)


def get_invitation_to_send(session: Session, caller: Caller, invitation_id: UUID) -> tuple[OrgInvitation, Organization]:
    """An invitation and its organisation, for a service; raises NotFound."""
    statement = (
        select(OrgInvitation, Organization)
        .join(Organization, Organization.id == OrgInvitation.org_id)
        .where(
            OrgInvitation.id == invitation_id,
            OrgInvitation.org_id == caller.org_id,
            Organization.removed_at.is_(None),
        )
    )
    row = session.execute(statement).one_or_none()
    if row is None:
        raise NotFound
    return row.OrgInvitation, row.Organization


def get_invitation_by_token(session: Session, token_hash: bytes) -> OrgInvitation:
    """The invitation that a token accepts, locked; its organisation is still there. Raises NotFound."""
    statement = (
        select(OrgInvitation)
        .join(Organization, Organization.id == OrgInvitation.org_id)
        .where(OrgInvitation.token_hash == token_hash, Organization.removed_at.is_(None))
        .with_for_update(of=OrgInvitation)
    )
    return get_one(session, statement)
