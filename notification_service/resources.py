"""What views and tasks of the notification service may ask for by name."""

from __future__ import annotations

from typing import Any

from notification_service.config import Settings
from notification_service.mailer import Mailer


def open_resources(settings: Settings) -> dict[str, Any]:
    """The mailer, and the check that the mail server answers."""
    mailer = Mailer(settings)
    return {"mailer": mailer, "checks": {"smtp": mailer.ping}}
