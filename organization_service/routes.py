"""Endpoints of the organization service. A superadmin who names no organisation reaches all of them."""

from common.api import Api, Tenancy, page_of
from common.pagination import PageFilter
from common.permissions import Permission as P
from organization_service import actions, branding, queries
from organization_service.schemas import (
    BrandChange,
    BrandOut,
    ContactChange,
    ContactIn,
    ContactOut,
    OrganizationChange,
    OrganizationFilter,
    OrganizationIn,
    OrganizationOut,
    SettingsChange,
    SettingsOut,
)

api = Api("organizations")
READ = {"permission": P.ORGANIZATION_READ, "tenancy": Tenancy.ORGANIZATION_OR_ALL}
WRITE = {"permission": P.ORGANIZATION_WRITE, "tenancy": Tenancy.ORGANIZATION_OR_ALL}


@api.post(
    "/organizations",
    permission=P.ORGANIZATION_WRITE,
    body=OrganizationIn,
    returns=OrganizationOut,
    creates="/organizations/{id}",
    tenancy=Tenancy.ALL,
)
def create_organization(session, caller, body):
    """Create an organisation (superadmins only)."""
    return actions.create_organization(session, caller, **body)


@api.get("/organizations", query=OrganizationFilter, returns=page_of(OrganizationOut), **READ)
def list_organizations(session, caller, query):
    """List the organisations the caller may see."""
    return queries.find_organizations(session, caller, **query)


@api.get("/organizations/{organization_id}", returns=OrganizationOut, **READ)
def get_organization(session, caller, organization_id):
    """Get one organisation."""
    return queries.get_organization(session, caller, organization_id)


@api.patch("/organizations/{organization_id}", body=OrganizationChange, returns=OrganizationOut, **WRITE)
def change_organization(session, caller, organization_id, body):
    """Change some fields of an organisation."""
    return actions.change_organization(session, caller, organization_id, **body)


@api.delete("/organizations/{organization_id}", **WRITE)
def remove_organization(session, caller, organization_id):
    """Take an organisation out of sight (superadmins only)."""
    actions.remove_organization(session, caller, organization_id)


@api.get("/organizations/{organization_id}/settings", returns=SettingsOut, **READ)
def get_settings(session, caller, organization_id):
    """Get the rules of an organisation."""
    return queries.get_settings(session, caller, organization_id)


@api.patch("/organizations/{organization_id}/settings", body=SettingsChange, returns=SettingsOut, **WRITE)
def change_settings(session, caller, organization_id, body):
    """Change some rules of an organisation."""
    return actions.change_settings(session, caller, organization_id, **body)


@api.post(
    "/organizations/{organization_id}/contacts",
    body=ContactIn,
    returns=ContactOut,
    creates="/organizations/{organization_id}/contacts/{id}",
    **WRITE,
)
def add_contact(session, caller, organization_id, body):
    """Add a contact to an organisation."""
    return actions.add_contact(session, caller, organization_id, **body)


@api.get("/organizations/{organization_id}/contacts", query=PageFilter, returns=page_of(ContactOut), **READ)
def list_contacts(session, caller, organization_id, query):
    """List the contacts of an organisation."""
    return queries.find_contacts(session, caller, organization_id, **query)


@api.get("/organizations/{organization_id}/contacts/{contact_id}", returns=ContactOut, **READ)
def get_contact(session, caller, organization_id, contact_id):
    """Get one contact."""
    return queries.get_contact(session, caller, organization_id, contact_id)


@api.patch("/organizations/{organization_id}/contacts/{contact_id}", body=ContactChange, returns=ContactOut, **WRITE)
def change_contact(session, caller, organization_id, contact_id, body):
    """Change some fields of a contact."""
    return actions.change_contact(session, caller, organization_id, contact_id, **body)


@api.delete("/organizations/{organization_id}/contacts/{contact_id}", **WRITE)
def remove_contact(session, caller, organization_id, contact_id):
    """Remove a contact."""
    actions.remove_contact(session, caller, organization_id, contact_id)


@api.get("/organizations/{organization_id}/brand", returns=BrandOut, **READ)
def get_brand(session, caller, organization_id):
    """Get the looks of an organisation."""
    return queries.get_brand(session, caller, organization_id)


@api.patch("/organizations/{organization_id}/brand", body=BrandChange, returns=BrandOut, **WRITE)
def change_brand(database, client, caller, precondition, organization_id, body):
    """Change some of the looks of an organisation."""
    return branding.change_brand(database, client, caller, precondition, organization_id, **body)
