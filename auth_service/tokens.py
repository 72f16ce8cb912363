"""Refresh tokens: 256 random bits that the server can recognise, and follow to their successor, but not read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

_BYTES = 32


def new_token() -> str:
    """A fresh token of 43 characters."""
    return _encode(secrets.token_bytes(_BYTES))


def hash_of(token: str) -> bytes:
    """What the database knows of a token: its SHA-256. With 256 random bits there is nothing to guess or salt."""
    return hashlib.sha256(token.encode()).digest()


def seal_successor(token: str, successor: str) -> bytes:
    """Lock `successor` so that only whoever still holds `token` can have it read again.

    A one-time pad: each token has one successor, and its pad cannot be computed from the stored hash.
    """
    return _xor(_pad(token), base64.urlsafe_b64decode(successor + "="))


def open_successor(token: str, sealed: bytes) -> str:
    """The successor that `seal_successor` locked with the same token."""
    return _encode(_xor(_pad(token), sealed))


def _pad(token: str) -> bytes:
    return hmac.digest(token.encode(), b"heartguard refresh successor", "sha256")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
