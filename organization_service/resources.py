"""What the organization service holds besides its database."""

from typing import Any

from organization_service.config import Settings
from organization_service.invitation_tokens import InvitationTokens


def open_resources(settings: Settings) -> dict[str, Any]:
    """The maker of invitations' tokens."""
    return {"invitation_tokens": InvitationTokens(settings)}
