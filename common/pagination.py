"""Keyset pages over UUIDv7 ids: newest first, stable under inserts, no offset."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from common import fields
from common.errors import ValidationFailed

DEFAULT_LIMIT, MAX_LIMIT = 50, 200


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list and the cursor of the next, or None on the last."""

    items: Sequence[Any]
    limit: int = DEFAULT_LIMIT
    next_cursor: str | None = None


class PageFilter(fields.Schema):
    """The query parameters of every list; filters of a service extend it."""

    limit = fields.Integer(1, MAX_LIMIT, load_default=DEFAULT_LIMIT)
    cursor = fields.Text(max_length=100, load_default=None)


def paginate(
    session: Session,
    statement: Select[Any],
    key: InstrumentedAttribute[UUID],
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """Run `statement` as one page ordered by `key` (a UUIDv7 column), newest first.

    Raises ValidationFailed for a cursor that this function did not make.
    """
    statement = statement.order_by(key.desc()).limit(limit + 1)
    if cursor is not None:
        statement = statement.where(key < _decode(cursor))
    rows = session.scalars(statement).all()
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(rows, limit, _encode(getattr(rows[-1], key.key)) if more else None)


def _encode(last: UUID) -> str:
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def _decode(cursor: str) -> UUID:
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
    except (ValueError, binascii.Error) as error:
        raise ValidationFailed(details=[{"field": "cursor", "issue": "format"}]) from error
