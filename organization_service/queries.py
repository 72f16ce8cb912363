"""Reads of the organization service: one's own organisation, or all for a superadmin who names none."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from common.auth import Caller
from common.errors import NotFound
from common.pagination import Page, paginate
from organization_service.models import Organization, OrgContact, OrgSettings


def visible_organizations(caller: Caller) -> Select[Any]:
    """The organisations the caller may see; removed ones are gone for everybody."""
    statement = select(Organization).where(Organization.removed_at.is_(None))
    if caller.is_superadmin and caller.org_id is None:
        return statement
    return statement.where(Organization.id == caller.org_id)


def get_organization(session: Session, caller: Caller, organization_id: UUID) -> Organization:
    """One organisation; raises NotFound."""
    organization = session.scalar(visible_organizations(caller).where(Organization.id == organization_id))
    if organization is None:
        raise NotFound
    return organization


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


def find_contacts(session: Session, caller: Caller, organization_id: UUID, limit: int, cursor: str | None) -> Page:
    """The contacts of an organisation, newest first; raises NotFound."""
    organization = get_organization(session, caller, organization_id)
    statement = select(OrgContact).where(OrgContact.org_id == organization.id)
    return paginate(session, statement, OrgContact.id, limit, cursor)


def get_contact(session: Session, caller: Caller, organization_id: UUID, contact_id: UUID) -> OrgContact:
    """One contact; raises NotFound."""
    organization = get_organization(session, caller, organization_id)
    statement = select(OrgContact).where(OrgContact.org_id == organization.id, OrgContact.id == contact_id)
    contact = session.scalar(statement)
    if contact is None:
        raise NotFound
    return contact
