"""Settings of the inference service."""

from dataclasses import dataclass

from environs import validate

from common.config import ServiceSettings, setting


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """When an observation is too old to alarm as if it were happening now."""

    stale_after_s: int = setting("INFERENCE_STALE_AFTER_SECONDS", 600, kind="int", validate=validate.Range(60))
