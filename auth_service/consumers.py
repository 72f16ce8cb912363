"""What the auth service learns from others."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy.orm import Session

from auth_service import devices
from common.auth import Caller
from common.events import Event
from common.messaging import consumer


class DeviceWithdrawn(Event, frozen=True, kw_only=True):
    """A device is not to send any more."""

    type: ClassVar[str] = "device.withdrawn"
    exchange: ClassVar[str] = "device.topic"

    device_id: UUID


@consumer("auth.devices", exchange="device.topic", payload=DeviceWithdrawn)
def revoke_device(session: Session, caller: Caller, event: Any) -> None:
    """End what the device holds."""
    devices.revoke(session, caller, event.device_id)
