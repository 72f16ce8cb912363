"""What the patient service learns from others."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy.orm import Session

from common.auth import Caller
from common.events import Event
from common.messaging import consumer
from common.rules import keep_rules
from patient_service.models import OrganizationRules


class OrganizationRulesChanged(Event, frozen=True, kw_only=True):
    """Clinicians see other patients of their organisation from now on."""

    type: ClassVar[str] = "organization.rules_changed"
    exchange: ClassVar[str] = "organization.topic"

    settings_version: int
    patient_scope: str = "care_team"


@consumer("patient.organizations", exchange="organization.topic", payload=OrganizationRulesChanged)
def note_rules(session: Session, caller: Caller, event: Any) -> None:
    """Remember which patients an organisation's clinicians see."""
    keep_rules(session, caller, OrganizationRules, event)
