"""What the organization service publishes."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from common.events import Event


class InvitationQueued(Event, frozen=True, kw_only=True):
    """Send an invitation.

    It names neither the address nor the token: `GET /internal/invitations/{id}` tells both at the moment of sending,
    so that no token rests in an outbox, a queue or a backup.
    """

    type: ClassVar[str] = "invitation.mail"
    exchange: ClassVar[str] = "notification.topic"

    invitation_id: UUID

    @property
    def subject(self) -> str:
        return str(self.invitation_id)


class OrganizationRulesChanged(Event, frozen=True, kw_only=True):
    """An organisation's rules, all of them, from now on; of two messages the higher `settings_version` counts."""

    type: ClassVar[str] = "organization.rules_changed"
    exchange: ClassVar[str] = "organization.topic"

    second_factor_required: bool
    settings_version: int
    patient_scope: str = "care_team"
    retention_days: int = 3650
    timezone: str = "UTC"
    quiet_from: str | None = None
    quiet_until: str | None = None
