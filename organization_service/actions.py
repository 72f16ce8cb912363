"""Writes of the organization service: one transaction each, with its audit event."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy.orm import Session

from common.auth import Caller
from common.errors import Forbidden, ValidationFailed
from common.outbox import record
from organization_service import queries
from organization_service.errors import HalfQuietHours, UnreachableContact
from organization_service.events import OrganizationRulesChanged
from organization_service.models import Organization, OrgBrand, OrgContact, OrgSettings

RULES = frozenset(OrganizationRulesChanged.__struct_fields__) - {"settings_version"}
RULES_FORM = 1
"""Count up when other services are to hear of another rule: `tasks` then tells them those of every organisation."""


def create_organization(session: Session, caller: Caller, code: str, name: str) -> Organization:
    """Create an organisation with the default rules; raises Forbidden for anybody but a superadmin."""
    _require_superadmin(caller)
    organization = Organization(code=code, name=name)
    session.add(organization)
    session.flush()
    settings = OrgSettings(org_id=organization.id)
    session.add_all([settings, OrgBrand(org_id=organization.id)])
    rules = _rules(session, settings)
    record(
        session,
        replace(caller, org_id=organization.id),
        "organization.created",
        organization,
        {"code": code},
        publish=rules,
    )
    return organization


def change_organization(session: Session, caller: Caller, organization_id: UUID, **values: Any) -> Organization:
    """Change some fields of an organisation; raises NotFound."""
    organization = queries.get_organization(session, caller, organization_id)
    record(session, caller, "organization.changed", organization, organization.change(**values))
    return organization


def remove_organization(session: Session, caller: Caller, organization_id: UUID) -> None:
    """Take an organisation out of sight, its code included; raises NotFound, Forbidden."""
    organization = queries.get_organization(session, caller, organization_id)
    _require_superadmin(caller)
    organization.removed_at = datetime.now(UTC)
    record(session, caller, "organization.removed", organization)


def _require_superadmin(caller: Caller) -> None:
    if not caller.is_superadmin:
        raise Forbidden


def change_settings(session: Session, caller: Caller, organization_id: UUID, **values: Any) -> OrgSettings:
    """Change some rules of an organisation; raises NotFound, ValidationFailed, HalfQuietHours."""
    settings = queries.get_settings(session, caller, organization_id)
    if "timezone" in values:
        _check_timezone(values["timezone"])
    changed = settings.change(**values)
    if (settings.quiet_from is None) != (settings.quiet_until is None):
        raise HalfQuietHours
    publish = [_rules(session, settings)] if RULES & set(changed) else []
    details = {name: values[name] for name in changed}
    record(
        session,
        replace(caller, org_id=settings.org_id),
        "organization.settings_changed",
        settings,
        details,
        publish=publish,
    )
    return settings


def announce_rules(session: Session, caller: Caller, settings: OrgSettings) -> None:
    """Tell the other services an organisation's rules in the form that they are told in now."""
    record(session, caller, "organization.rules_announced", settings, publish=_rules(session, settings))


def _rules(session: Session, settings: OrgSettings) -> OrganizationRulesChanged:
    settings.announced = RULES_FORM
    session.flush()  # gives the settings their new version
    rules = {name: getattr(settings, name) for name in RULES}
    return OrganizationRulesChanged(settings_version=settings.version, **rules)


def _check_timezone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValidationFailed(details=[{"field": "timezone", "issue": "choice"}]) from error


def add_contact(session: Session, caller: Caller, organization_id: UUID, **values: Any) -> OrgContact:
    """Add a contact to an organisation; raises NotFound, UnreachableContact."""
    organization = queries.get_organization(session, caller, organization_id)
    contact = OrgContact(org_id=organization.id, **values)
    _check_reachable(contact)
    session.add(contact)
    record(session, caller, "organization.contact_added", contact, values.keys())
    return contact


def change_contact(
    session: Session, caller: Caller, organization_id: UUID, contact_id: UUID, **values: Any
) -> OrgContact:
    """Change some fields of a contact; raises NotFound, UnreachableContact."""
    contact = queries.get_contact(session, caller, organization_id, contact_id)
    changed = contact.change(**values)
    _check_reachable(contact)
    record(session, caller, "organization.contact_changed", contact, changed)
    return contact


def _check_reachable(contact: OrgContact) -> None:
    if contact.email is None and contact.phone is None:
        raise UnreachableContact


def remove_contact(session: Session, caller: Caller, organization_id: UUID, contact_id: UUID) -> None:
    """Remove a contact; raises NotFound."""
    contact = queries.get_contact(session, caller, organization_id, contact_id)
    session.delete(contact)
    record(session, caller, "organization.contact_removed", contact)
