"""What the audit service uses besides its database."""

from __future__ import annotations

from typing import Any

from audit_service.config import Settings
from audit_service.heads import SignedHeads


def open_resources(settings: Settings) -> dict[str, Any]:
    """The folder of signed heads."""
    return {"heads": SignedHeads(settings.head_folder, settings.signing_keys)}
