"""The tokens that accept invitations: made again for the letter from a key, so that none rests anywhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
from uuid import UUID

from common.config import TokenSettings
from common.tokens import parse_keys

_PURPOSE = b"heartguard invitation"


class InvitationTokens:
    """Tokens of 256 bits under the keys that services prove themselves with; the first makes, all make again."""

    def __init__(self, settings: TokenSettings) -> None:
        keys = parse_keys(settings.internal_signing_keys, "HS256")
        self._keys = [hmac.digest(key.secret, _PURPOSE, "sha256") for key in keys]

    def make(self, invitation_id: UUID) -> str:
        """The token of a new invitation."""
        return self._token(self._keys[0], invitation_id)

    def make_again(self, invitation_id: UUID, token_hash: bytes) -> str | None:
        """The token whose hash is known; None when its key is gone."""
        made = [self._token(key, invitation_id) for key in self._keys]
        return next((token for token in made if hmac.compare_digest(hash_of(token), token_hash)), None)

    def _token(self, key: bytes, invitation_id: UUID) -> str:
        return base64.urlsafe_b64encode(hmac.digest(key, invitation_id.bytes, "sha256")).decode().rstrip("=")


def hash_of(token: str) -> bytes:
    """What the database knows of a token."""
    return hashlib.sha256(token.encode()).digest()
