"""Who belongs to an organisation, and as what: noted here, while the auth service says what it opens."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from common.auth import Caller
from common.database import Database
from common.errors import NotFound, ValidationFailed
from common.http import InternalClient
from common.permissions import Permission
from user_service import actions, queries


def find_new_roles(database: Database, client: InternalClient, caller: Caller, user_id: UUID) -> list[str]:
    """The roles to remember of a person not known here yet, none for one who is; call it outside any transaction.

    Raises NotFound for somebody who is not in the caller's organisation, Unavailable, UpstreamTimeout.
    """
    with database.transaction(caller.org_id) as session:
        if queries.is_member(session, caller, user_id):
            return []
    account = client.get(caller, "auth", f"/auth/users/{user_id}", permissions=[Permission.USER_READ])
    return list(account["roles"])


def grant(client: InternalClient, caller: Caller, user_id: UUID, role: str) -> None:
    """Have the auth service let somebody act in a role from now on; call it outside any transaction.

    Raises RoleBeyondReach, ValidationFailed for a role that the suite does not have, Unavailable, UpstreamTimeout.
    """
    actions.require_reach(caller, role)
    try:
        client.put(caller, "auth", f"/internal/users/{user_id}/organization", {"role": role})
    except NotFound as error:
        raise ValidationFailed(details=[{"field": "role", "issue": "choice"}]) from error


def withdraw(database: Database, client: InternalClient, caller: Caller, membership_id: UUID) -> None:
    """Have the auth service end what a membership opens, within a second; call it outside any transaction.

    Raises NotFound, RoleBeyondReach, Unavailable, UpstreamTimeout.
    """
    with database.transaction(caller.org_id) as session:
        membership = queries.get_membership(session, caller, membership_id)
    actions.require_reach(caller, membership.role)
    path = f"/internal/users/{membership.user_id}/organization/roles/{membership.role}"
    with suppress(NotFound):  # taken before, there or by a first attempt
        client.delete(caller, "auth", path)
