"""What the auth service holds besides its database."""

from typing import Any

from auth_service.config import Settings
from auth_service.passwords import PasswordHasher
from common import cache
from common.revocation import Revocations
from common.tokens import AUDIENCE, TokenSigner
from common.vault import Vault


def open_resources(settings: Settings) -> dict[str, Any]:
    """The hasher, the vault, the signer of access tokens, and the way to tell everybody about revocations."""
    return {
        "hasher": PasswordHasher(),
        "vault": Vault(settings.secret_keys),
        "signer": TokenSigner(settings, AUDIENCE),
        "revocations": Revocations(cache.connect(settings.redis_url)),
    }
