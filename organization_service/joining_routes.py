"""Endpoints of the roles inside an organisation, and of invitations into it."""

from common.api import Api, Tenancy, page_of
from common.pagination import PageFilter
from common.permissions import AUTHENTICATED, INTERNAL
from common.permissions import Permission as P
from organization_service import joining, queries
from organization_service.schemas import (
    InvitationIn,
    InvitationLetterOut,
    InvitationOut,
    JoinedOut,
    NewInvitationOut,
    RoleChange,
    RoleIn,
    RoleOut,
)

api = Api("joining")
READ = {"permission": P.ORGANIZATION_READ, "tenancy": Tenancy.ORGANIZATION_OR_ALL}
WRITE = {"permission": P.ORGANIZATION_WRITE, "tenancy": Tenancy.ORGANIZATION_OR_ALL}


@api.post(
    "/organizations/{organization_id}/roles",
    body=RoleIn,
    returns=RoleOut,
    creates="/organizations/{organization_id}/roles/{id}",
    **WRITE,
)
def create_role(session, caller, organization_id, body):
    """Give one of the suite's roles a name of the organisation's own."""
    return joining.create_role(session, caller, organization_id, **body)


@api.get("/organizations/{organization_id}/roles", query=PageFilter, returns=page_of(RoleOut), **READ)
def list_roles(session, caller, organization_id, query):
    """List the roles of an organisation."""
    return queries.find_roles(session, caller, organization_id, **query)


@api.get("/organizations/{organization_id}/roles/{role_id}", returns=RoleOut, **READ)
def get_role(session, caller, organization_id, role_id):
    """Get one role."""
    return queries.get_role(session, caller, organization_id, role_id)


@api.patch("/organizations/{organization_id}/roles/{role_id}", body=RoleChange, returns=RoleOut, **WRITE)
def rename_role(session, caller, organization_id, role_id, body):
    """Rename a role."""
    return joining.rename_role(session, caller, organization_id, role_id, **body)


@api.delete("/organizations/{organization_id}/roles/{role_id}", **WRITE)
def remove_role(session, caller, organization_id, role_id):
    """Remove a role; who came in by it stays in."""
    joining.remove_role(session, caller, organization_id, role_id)


@api.post(
    "/organizations/{organization_id}/invitations",
    body=InvitationIn,
    returns=NewInvitationOut,
    creates="/organizations/{organization_id}/invitations/{id}",
    **WRITE,
)
def invite(session, caller, invitation_tokens, organization_id, body):
    """Invite somebody by a letter; the answer and the letter hold the token, and nothing else does."""
    return joining.invite(session, caller, invitation_tokens, organization_id, **body)


@api.get("/internal/invitations/{invitation_id}", permission=INTERNAL, returns=InvitationLetterOut)
def get_letter(session, caller, invitation_tokens, invitation_id):
    """Get what the letter of an invitation says; 404 once it is not to be sent any more."""
    return joining.get_letter(session, caller, invitation_tokens, invitation_id)


@api.get(
    "/organizations/{organization_id}/invitations",
    permission=P.ORGANIZATION_WRITE,
    query=PageFilter,
    returns=page_of(InvitationOut),
    tenancy=Tenancy.ORGANIZATION_OR_ALL,
)
def list_invitations(session, caller, organization_id, query):
    """List the invitations of an organisation; they hold addresses, so those who invite see them."""
    return queries.find_invitations(session, caller, organization_id, **query)


@api.get("/organizations/{organization_id}/invitations/{invitation_id}", returns=InvitationOut, **WRITE)
def get_invitation(session, caller, organization_id, invitation_id):
    """Get one invitation."""
    return queries.get_invitation(session, caller, organization_id, invitation_id)


@api.delete("/organizations/{organization_id}/invitations/{invitation_id}", **WRITE)
def revoke_invitation(session, caller, organization_id, invitation_id):
    """Take an invitation back."""
    joining.revoke_invitation(session, caller, organization_id, invitation_id)


@api.post(
    "/invitations/{token}/accept",
    permission=AUTHENTICATED,
    returns=JoinedOut,
    tenancy=Tenancy.ALL,
    rate_class="login",
    repeatable=True,
)
def accept_invitation(database, client, caller, token):
    """Join the organisation that sent the invitation."""
    return joining.accept_invitation(database, client, caller, token)
