"""What the organization service publishes."""

from __future__ import annotations

from typing import ClassVar

from common.events import Event


class OrganizationRulesChanged(Event, frozen=True, kw_only=True):
    """Whoever logs in has to follow other rules from now on; of two messages the higher `settings_version` counts."""

    type: ClassVar[str] = "organization.rules_changed"
    exchange: ClassVar[str] = "organization.topic"

    second_factor_required: bool
    settings_version: int
