"""Endpoints of administrators: the organisation's accounts, and the roles of all."""

from auth_service import actions, queries
from auth_service.administration_schemas import (
    CatalogueEntryOut,
    PermissionOut,
    RoleIn,
    RoleName,
    RoleOut,
    StatusIn,
    UserChange,
    UserFilter,
    UserIn,
)
from auth_service.routes import hash_password
from auth_service.schemas import UserOut
from common.api import Api, Tenancy, page_of
from common.pagination import PageFilter
from common.permissions import AUTHENTICATED
from common.permissions import Permission as P

api = Api("administration")


@api.post(
    "/auth/users",
    permission=P.USER_WRITE,
    body=UserIn,
    returns=UserOut,
    creates="/auth/users/{id}",
    prepare=hash_password,
)
def create_user(session, caller, prepared, body):
    """Create an account in the organisation, with roles whose permissions the caller holds too."""
    return actions.create_user(session, caller, password_hash=prepared, **body)


@api.get("/auth/users", permission=P.USER_READ, query=UserFilter, returns=page_of(UserOut))
def list_users(session, caller, query):
    """List the organisation's accounts."""
    return queries.find_users(session, caller, **query)


@api.get("/auth/users/{user_id}", permission=P.USER_READ, returns=UserOut)
def get_user(session, caller, user_id):
    """Get one account."""
    return queries.get_user(session, caller, user_id)


@api.patch("/auth/users/{user_id}", permission=P.USER_WRITE, body=UserChange, returns=UserOut)
def change_user(session, caller, user_id, body):
    """Change some fields of an account."""
    return actions.change_user(session, caller, user_id, **body)


@api.put("/auth/users/{user_id}/status", permission=P.USER_WRITE, body=StatusIn, returns=UserOut)
def set_user_status(session, caller, user_id, body):
    """Activate or block an account."""
    return actions.set_status(session, caller, user_id, **body)


@api.put("/auth/users/{user_id}/roles/{code}", permission=P.USER_WRITE, returns=UserOut)
def grant_role(session, caller, user_id, code):
    """Give a user a role."""
    return actions.grant_role(session, caller, user_id, code)


@api.delete("/auth/users/{user_id}/roles/{code}", permission=P.USER_WRITE)
def withdraw_role(session, caller, user_id, code):
    """Take a role from a user."""
    actions.withdraw_role(session, caller, user_id, code)


# --- roles: one set for all organisations ----------------------------------------------------------------------------


@api.post(
    "/auth/roles",
    permission=P.ROLE_WRITE,
    body=RoleIn,
    returns=RoleOut,
    creates="/auth/roles/{code}",
    tenancy=Tenancy.ALL,
)
def create_role(session, caller, body):
    """Create a role."""
    return actions.create_role(session, caller, **body)


@api.get("/auth/roles", permission=P.ROLE_READ, query=PageFilter, returns=page_of(RoleOut), tenancy=Tenancy.ALL)
def list_roles(session, query):
    """List the roles."""
    return queries.find_roles(session, **query)


@api.get("/auth/roles/{code}", permission=P.ROLE_READ, returns=RoleOut, tenancy=Tenancy.ALL)
def get_role(session, code):
    """Get one role."""
    return queries.get_role(session, code)


@api.put("/auth/roles/{code}", permission=P.ROLE_WRITE, body=RoleName, returns=RoleOut, tenancy=Tenancy.ALL)
def rename_role(session, caller, code, body):
    """Change a role's name."""
    return actions.rename_role(session, caller, code, **body)


@api.delete("/auth/roles/{code}", permission=P.ROLE_WRITE, tenancy=Tenancy.ALL)
def remove_role(session, caller, code):
    """Remove a role that nobody holds."""
    actions.remove_role(session, caller, code)


@api.put("/auth/roles/{code}/permissions/{permission}", permission=P.ROLE_WRITE, returns=RoleOut, tenancy=Tenancy.ALL)
def add_role_permission(session, caller, code, permission):
    """Put a permission into a role."""
    return actions.add_permission(session, caller, code, permission)


@api.delete("/auth/roles/{code}/permissions/{permission}", permission=P.ROLE_WRITE, tenancy=Tenancy.ALL)
def remove_role_permission(session, caller, code, permission):
    """Take a permission out of a role."""
    actions.remove_permission(session, caller, code, permission)


@api.get("/auth/permissions", permission=P.ROLE_READ, returns=page_of(PermissionOut), tenancy=Tenancy.ALL)
def list_permissions(session):
    """List every permission."""
    return queries.find_permissions(session)


@api.get("/auth/catalogs/{catalog}", permission=AUTHENTICATED, returns=page_of(CatalogueEntryOut), tenancy=Tenancy.ALL)
def list_catalogue(session, catalog):
    """List a catalogue: user-statuses, platforms or service-statuses."""
    return queries.find_catalogue(session, catalog)
