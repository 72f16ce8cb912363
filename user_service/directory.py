"""Who belongs to an organisation: known here, or asked of the auth service, which is right."""

from __future__ import annotations

from uuid import UUID

from common.auth import Caller
from common.database import Database
from common.http import InternalClient
from common.permissions import Permission
from user_service import queries


def find_new_roles(database: Database, client: InternalClient, caller: Caller, user_id: UUID) -> list[str]:
    """The roles to remember of a person not known here yet, none for one who is; call it outside any transaction.

    Raises NotFound for somebody who is not in the caller's organisation, Unavailable, UpstreamTimeout.
    """
    with database.transaction(caller.org_id) as session:
        if queries.is_member(session, caller, user_id):
            return []
    account = client.get(caller, "auth", f"/auth/users/{user_id}", permissions=[Permission.USER_READ])
    return list(account["roles"])
