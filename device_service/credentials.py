"""What a device proves itself with: issued and revoked here for whoever manages it, kept by the auth service."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from common.auth import Caller
from common.database import Database
from common.http import InternalClient
from common.outbox import record
from device_service import queries
from device_service.errors import DeviceInactive


def ask_for_pairing_code(
    database: Database, client: InternalClient, caller: Caller, key: str | None, device_id: UUID
) -> Any:
    """A code with which the device gets its tokens, once; the same for the same key.

    Raises NotFound, DeviceInactive, Unavailable.
    """
    with database.transaction(caller.org_id) as session:
        device = queries.get_device(session, caller, device_id)
        if not device.active:
            raise DeviceInactive
    issued = client.post(caller, "auth", "/internal/device-pairings", {"device_id": device_id}, key=key)
    return issued | {"expires_at": datetime.fromisoformat(issued["expires_at"])}


def revoke_credentials(database: Database, client: InternalClient, caller: Caller, device_id: UUID) -> None:
    """Refuse what the device proves itself with, within a second; raises NotFound, Unavailable."""
    with database.transaction(caller.org_id) as session:
        record(session, caller, "device.credentials_revoked", queries.get_device(session, caller, device_id))
    client.delete(caller, "auth", f"/internal/devices/{device_id}/credentials")
