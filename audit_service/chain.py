"""The chain: `hash = SHA-256(previous hash || canonical row)`, so that no row can change, come or go unseen.

The canonical row is the UTF-8 JSON array of `FIELDS` in their order, without whitespace, the keys of objects sorted,
times in UTC with six decimals. Anybody who has the rows can compute it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

GENESIS = bytes(32)
"""What the first row takes as its previous hash."""

FIELDS = (
    "sequence",
    "id",
    "org_id",
    "ts",
    "actor",
    "action",
    "entity",
    "entity_id",
    "ip",
    "user_agent",
    "request_id",
    "details",
)


def hash_row(previous: bytes, row: Mapping[str, Any]) -> bytes:
    """The hash of `row`, a mapping of FIELDS, after the row whose hash is `previous`."""
    return hashlib.sha256(previous + _canonical(row)).digest()


# json rather than msgspec: Python defines the text of its floats for good, a library may change its own.
_encode = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False, default=lambda value: _text(value)
).encode


def _canonical(row: Mapping[str, Any]) -> bytes:
    return _encode([row[name] for name in FIELDS]).encode()


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"no canonical form of {type(value).__name__}")
