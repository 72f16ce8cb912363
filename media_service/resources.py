"""What the media service uses besides its database."""

from __future__ import annotations

from typing import Any

from media_service.config import Settings
from media_service.storage import Storage


def open_resources(settings: Settings) -> dict[str, Any]:
    """The store, asked by `/ready` where there is one."""
    storage = Storage(settings)
    return {"storage": storage, "checks": {"storage": storage.ping} if storage.is_configured else {}}
