"""Settings of the user service."""

from dataclasses import dataclass

from common.config import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Nothing beyond what every service needs."""
