"""What the auth service learns from others."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy.orm import Session

from auth_service import devices
from auth_service.models import OrganizationRules
from common.auth import Caller
from common.events import Event
from common.messaging import consumer
from common.rules import keep_rules


class DeviceWithdrawn(Event, frozen=True, kw_only=True):
    """A device is not to send any more."""

    type: ClassVar[str] = "device.withdrawn"
    exchange: ClassVar[str] = "device.topic"

    device_id: UUID


@consumer("auth.devices", exchange="device.topic", payload=DeviceWithdrawn)
def revoke_device(session: Session, caller: Caller, event: Any) -> None:
    """End what the device holds."""
    devices.revoke(session, caller, event.device_id)


class OrganizationRulesChanged(Event, frozen=True, kw_only=True):
    """Whoever logs in to an organisation has to follow other rules."""

    type: ClassVar[str] = "organization.rules_changed"
    exchange: ClassVar[str] = "organization.topic"

    second_factor_required: bool
    settings_version: int


@consumer("auth.organizations", exchange="organization.topic", payload=OrganizationRulesChanged)
def note_rules(session: Session, caller: Caller, event: Any) -> None:
    """Remember what an organisation asks of those who log in."""
    keep_rules(session, caller, OrganizationRules, event)
