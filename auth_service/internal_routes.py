"""Endpoints for the other services and the gateway."""

from auth_service import actions, credentials, devices, queries
from auth_service.internal_schemas import (
    ContactsIn,
    ContactsOut,
    DevicePairingIn,
    DevicePairingOut,
    JoinIn,
    LetterOut,
    RevocationOut,
    RevocationQuery,
)
from auth_service.schemas import UserOut
from common.api import Api, Tenancy
from common.permissions import INTERNAL

api = Api("internal")


@api.get(
    "/internal/revocations/{token_id}",
    permission=INTERNAL,
    query=RevocationQuery,
    returns=RevocationOut,
    tenancy=Tenancy.ALL,
)
def get_revocation(session, token_id, query):
    """Say whether an access token was revoked: the truth, for when Redis is away."""
    subjects = [f"token:{token_id}", f"session:{query['session_id']}", f"user:{query['subject']}"]
    return {"revoked": queries.is_revoked(session, subjects, query["issued_at"])}


@api.post(
    "/internal/contacts", permission=INTERNAL, body=ContactsIn, returns=ContactsOut, tenancy=Tenancy.ALL, reads=True
)
def find_contacts(session, caller, body):
    """Find the addresses and languages of users of an organisation; its guests' accounts belong to others."""
    return {"contacts": queries.find_contacts(session, caller, **body)}


@api.put(
    "/internal/users/{user_id}/organization", permission=INTERNAL, body=JoinIn, returns=UserOut, tenancy=Tenancy.ALL
)
def join_organization(session, caller, user_id, body):
    """Give a user a role in the organisation of the token, for whoever accepted an invitation."""
    return actions.join_organization(session, caller, user_id, **body)


@api.delete("/internal/users/{user_id}/organization/roles/{code}", permission=INTERNAL, tenancy=Tenancy.ALL)
def leave_organization(session, caller, user_id, code):
    """Take a role from a user in the organisation of the token."""
    actions.leave_organization(session, caller, user_id, code)


@api.get("/internal/account-mails/{account_mail_id}", permission=INTERNAL, returns=LetterOut, tenancy=Tenancy.ALL)
def get_letter(session, caller, vault, account_mail_id):
    """Get what a letter about an account says; 404 once it is not to be sent any more."""
    return credentials.get_letter(session, caller, vault, account_mail_id)


@api.post("/internal/device-pairings", permission=INTERNAL, body=DevicePairingIn, returns=DevicePairingOut)
def issue_pairing_code(session, caller, vault, body):
    """Issue a pairing code for a device of the organisation of the token."""
    return devices.issue_code(session, caller, vault, **body)


@api.delete("/internal/devices/{device_id}/credentials", permission=INTERNAL)
def revoke_device(session, caller, device_id):
    """End what a device of the organisation of the token holds."""
    devices.revoke(session, caller, device_id)
