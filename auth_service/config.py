"""Settings of the auth service."""

from dataclasses import dataclass

from common.config import ServiceSettings, setting


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """`secret_keys` (kid:secret, the first in force) seal and recognise what only this service may read."""

    secret_keys: list[str] = setting("AUTH_SECRET_KEYS", kind="list")
    superadmin_email: str = setting("SUPERADMIN_EMAIL", "admin@heartguard.local")
