"""Settings of the media service."""

import os
from dataclasses import dataclass

from environs import validate

from common.config import ServiceSettings, setting


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Where files are kept. Without a bucket the service runs, and refuses uploads."""

    bucket: str | None = setting("GCS_BUCKET", None)
    chosen_endpoint: str | None = setting("GCS_ENDPOINT", None)
    chosen_public_endpoint: str | None = setting("GCS_PUBLIC_ENDPOINT", None)
    max_media_bytes: int = setting("MEDIA_MAX_BYTES", 100 * 1024 * 1024, kind="int", validate=validate.Range(1024))

    @property
    def endpoint(self) -> str | None:
        """The address of a stand-in for Google's servers, which takes any credentials; None for Google itself."""
        return self.chosen_endpoint or os.environ.get("STORAGE_EMULATOR_HOST")

    @property
    def public_endpoint(self) -> str | None:
        """The same as clients reach it."""
        return self.chosen_public_endpoint or self.endpoint
