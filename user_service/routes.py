"""Endpoints of the user service. What is one's own needs no organisation, so it is looked up across all by one's id."""

from common.api import Api, Tenancy, page_of
from common.pagination import PageFilter
from common.permissions import AUTHENTICATED, INTERNAL
from common.permissions import Permission as P
from user_service import actions, directory, queries
from user_service.schemas import (
    AlarmIn,
    DeviceIn,
    DeviceOut,
    JoinedOut,
    MembershipFilter,
    MembershipIn,
    MembershipOut,
    PreferencesChange,
    PreferencesOut,
    ProfileChange,
    ProfileFilter,
    ProfileOut,
    WaysOut,
)

api = Api("users")
OWN = {"permission": AUTHENTICATED, "tenancy": Tenancy.ALL}


@api.get("/users/me", returns=ProfileOut, **OWN)
def get_own_profile(session, caller):
    """Get one's own profile."""
    return queries.get_profile(session, queries.own_id(caller))


@api.patch("/users/me", body=ProfileChange, returns=ProfileOut, **OWN)
def change_own_profile(session, caller, body):
    """Change some fields of one's own profile."""
    return actions.change_own_profile(session, caller, **body)


@api.get("/users", permission=P.USER_READ, query=ProfileFilter, returns=page_of(ProfileOut))
def list_profiles(session, caller, query):
    """List the profiles of the organisation's members."""
    return queries.find_profiles(session, caller, **query)


@api.get("/users/{user_id}", permission=P.USER_READ, returns=ProfileOut)
def get_profile(database, client, caller, user_id):
    """Get the profile of a member of the organisation."""
    directory.find_new_roles(database, client, caller, user_id)
    with database.transaction(caller.org_id) as session:
        return queries.get_profile(session, user_id)


@api.patch("/users/{user_id}", permission=P.USER_WRITE, body=ProfileChange, returns=ProfileOut)
def change_profile(database, client, caller, precondition, user_id, body):
    """Change some fields of the profile of a member of the organisation."""
    roles = directory.find_new_roles(database, client, caller, user_id)
    with database.transaction(caller.org_id) as session:
        precondition(session, lambda: queries.get_profile(session, user_id))
        return actions.change_member(session, caller, user_id, roles, **body)


@api.get("/preferences", returns=PreferencesOut, **OWN)
def get_preferences(session, caller):
    """Get one's own preferences."""
    return queries.get_preferences(session, queries.own_id(caller))


@api.patch("/preferences", body=PreferencesChange, returns=PreferencesOut, **OWN)
def change_preferences(session, caller, body):
    """Change some of one's own preferences."""
    return actions.change_preferences(session, caller, **body)


@api.post("/internal/alarm-ways", permission=INTERNAL, body=AlarmIn, returns=WaysOut, reads=True)
def find_alarm_ways(session, caller, body):
    """Say how to tell people of an alarm (for the notification service)."""
    return {"ways": queries.find_ways(session, caller, **body)}


@api.get("/memberships", permission=P.USER_READ, query=MembershipFilter, returns=page_of(MembershipOut))
def list_memberships(session, caller, query):
    """List who has which role in the organisation."""
    return queries.find_memberships(session, caller, **query)


def grant_role(database, client, caller, body):
    """Have the auth service let somebody act in the role, which it does once."""
    directory.find_new_roles(database, client, caller, body["user_id"])
    directory.grant(client, caller, **body)


@api.post(
    "/memberships",
    permission=P.USER_WRITE,
    body=MembershipIn,
    returns=MembershipOut,
    creates="/memberships/{id}",
    prepare=grant_role,
)
def add_membership(session, caller, body):
    """Give somebody of the organisation another role in it."""
    return actions.add_membership(session, caller, **body)


@api.post("/internal/memberships", permission=INTERNAL, body=MembershipIn, returns=JoinedOut)
def join(session, caller, body):
    """Remember a role that somebody was invited to (for the organization service); a second time changes nothing."""
    return {"joined": actions.join(session, caller, **body)}


@api.get("/memberships/{membership_id}", permission=P.USER_READ, returns=MembershipOut)
def get_membership(session, caller, membership_id):
    """Get one membership."""
    return queries.get_membership(session, caller, membership_id)


@api.delete("/memberships/{membership_id}", permission=P.USER_WRITE)
def remove_membership(database, client, caller, precondition, membership_id):
    """Take a role in the organisation from somebody, who cannot act in it any more within a second."""
    with database.transaction(caller.org_id) as session:
        precondition(session, lambda: queries.get_membership(session, caller, membership_id))
    directory.withdraw(database, client, caller, membership_id)
    with database.transaction(caller.org_id) as session:
        precondition(session, lambda: queries.get_membership(session, caller, membership_id))
        actions.remove_membership(session, caller, membership_id)


@api.get("/users/me/memberships", query=PageFilter, returns=page_of(MembershipOut), **OWN)
def list_own_memberships(session, caller, query):
    """List one's own roles in every organisation."""
    return queries.find_own_memberships(session, caller, **query)


@api.get("/users/me/devices", query=PageFilter, returns=page_of(DeviceOut), **OWN)
def list_own_devices(session, caller, query):
    """List one's own phones and browsers."""
    return queries.find_own_devices(session, caller, **query)


@api.post("/users/me/devices", body=DeviceIn, returns=DeviceOut, creates="/users/me/devices/{id}", **OWN)
def add_device(session, caller, body):
    """Remember one of one's phones or browsers."""
    return actions.add_device(session, caller, **body)


@api.get("/users/me/devices/{device_id}", returns=DeviceOut, **OWN)
def get_own_device(session, caller, device_id):
    """Get one of one's own phones or browsers."""
    return queries.get_own_device(session, caller, device_id)


@api.delete("/users/me/devices/{device_id}", **OWN)
def remove_device(session, caller, device_id):
    """Forget one of one's own phones or browsers."""
    actions.remove_device(session, caller, device_id)
