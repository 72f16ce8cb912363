"""What must be read again (sealed) or recognised again (keyed hashes) though the database alone tells nobody."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from common.tokens import parse_keys

_NONCE_BYTES = 12


class Vault:
    """A ring of keys (`kid:secret`): the first is in force, the others still open what they sealed."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._keys = [key.secret for key in parse_keys(entries, "HS256")]

    def seal(self, purpose: str, secret: bytes) -> bytes:
        """AES-256-GCM under the key in force; opens for the same `purpose` only."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(_derive(self._keys[0], "seal")).encrypt(nonce, secret, purpose.encode())

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """What was sealed for `purpose`; raises InvalidTag when no key opens it."""
        nonce, body = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        for key in self._keys:
            try:
                return AESGCM(_derive(key, "seal")).decrypt(nonce, body, purpose.encode())
            except InvalidTag:
                continue
        raise InvalidTag

    def digests(self, purpose: str, *parts: str) -> list[bytes]:
        """The keyed hashes of some text, the one in force first: what to store, and what to look for."""
        message = "\x1f".join(parts).encode()
        return [hmac.digest(_derive(key, purpose), message, "sha256") for key in self._keys]

    def digest(self, purpose: str, *parts: str) -> bytes:
        """The keyed hash in force."""
        return self.digests(purpose, *parts)[0]

    def sign(self, purpose: str, *parts: str) -> str:
        """The keyed hash in force as text, to put behind something that is given away."""
        return _text(self.digest(purpose, *parts))

    def verify(self, signature: str, purpose: str, *parts: str) -> bool:
        """True when one of the keys made this signature."""
        given = signature.encode()
        return any([hmac.compare_digest(given, _text(made).encode()) for made in self.digests(purpose, *parts)])


def _derive(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, purpose.encode(), "sha256")


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
