"""What the auth service learns from others."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from auth_service import devices
from auth_service.models import OrganizationRules
from common.auth import Caller
from common.events import Event
from common.messaging import consumer
from common.outbox import record


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
def keep_rules(session: Session, caller: Caller, event: Any) -> None:
    """Remember the rules, unless newer ones are known: messages may overtake each other."""
    rules = {
        "second_factor_required": event.second_factor_required,
        "settings_version": event.settings_version,
    }
    session.execute(
        insert(OrganizationRules)
        .values(org_id=caller.org_id, **rules)
        .on_conflict_do_update(
            index_elements=[OrganizationRules.org_id],
            set_=rules,
            where=OrganizationRules.settings_version < event.settings_version,
        )
    )
    record(session, caller, "organization_rules.kept", f"organizations:{caller.org_id}", rules)
