"""What the user service learns from others."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy.orm import Session

from common.auth import Caller
from common.events import Event
from common.messaging import consumer
from common.rules import keep_rules
from user_service.models import OrganizationRules


class OrganizationRulesChanged(Event, frozen=True, kw_only=True):
    """The people of an organisation have other quiet hours, unless they have set their own."""

    type: ClassVar[str] = "organization.rules_changed"
    exchange: ClassVar[str] = "organization.topic"

    settings_version: int
    timezone: str = "UTC"
    quiet_from: str | None = None
    quiet_until: str | None = None


@consumer("user.organizations", exchange="organization.topic", payload=OrganizationRulesChanged)
def note_rules(session: Session, caller: Caller, event: Any) -> None:
    """Remember an organisation's quiet hours."""
    keep_rules(session, caller, OrganizationRules, event)
