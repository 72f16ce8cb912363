"""What views and tasks of the notification service may ask for by name."""

from __future__ import annotations

from typing import Any

from common.cache import Pause
from notification_service.config import Settings
from notification_service.mailer import Mailer

WISHES_PAUSE_S = 5.0


def open_resources(settings: Settings) -> dict[str, Any]:
    """The mailer with its check, and the pause while nobody says how people want to be told."""
    mailer = Mailer(settings)
    return {"mailer": mailer, "wishes_pause": Pause(WISHES_PAUSE_S), "checks": {"smtp": mailer.ping}}
