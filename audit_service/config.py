"""Settings of the audit service."""

import os
from dataclasses import dataclass
from pathlib import Path

from common.config import ServiceSettings, setting


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Where signed heads of the chain are kept, and with which keys they are signed."""

    signing_keys: list[str] = setting("AUDIT_SIGNING_KEY", kind="list")
    """`kid:secret[,kid:secret]`: the first signs, all verify, so that a key can be changed."""
    chosen_head_folder: str | None = setting("AUDIT_HEAD_FOLDER", None)

    @property
    def head_folder(self) -> Path:
        """`AUDIT_HEAD_FOLDER`, else a folder in the state of this machine."""
        state = os.environ.get("HEARTGUARD_STATE", "/var/lib/heartguard")
        return Path(self.chosen_head_folder or f"{state}/audit-heads")
