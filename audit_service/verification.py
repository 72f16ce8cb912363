"""Walks the chain and says where it breaks."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from audit_service.chain import FIELDS, GENESIS, hash_row
from audit_service.heads import ForgedHeadError, Head, SignedHeads
from audit_service.models import AuditLog

MAX_VERIFY = 10_000
REASONS = ("altered", "missing", "rewritten", "truncated", "head_forged")


@dataclass(frozen=True, slots=True)
class Break:
    """The row at which the chain stops being what was written, and why."""

    sequence: int
    reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What one walk found; `next_cursor` is None at the end and at a break."""

    checked: int
    last_sequence: int
    last_hash: bytes
    signed_sequence: int | None
    broken_at: Break | None
    next_cursor: int | None

    @property
    def state(self) -> str:
        """`whole` or `broken`, as far as this walk went."""
        return "broken" if self.broken_at else "whole"


def verify(session: Session, heads: SignedHeads, cursor: int, limit: int) -> Verification:
    """Walk `limit` rows after number `cursor`, and hold the newest signed head against its row.

    The session sees every organisation. A head that was signed binds all rows before it.
    """
    head, forged = _newest(heads)  # before the rows: the chain may grow meanwhile, never shrink
    last, last_hash, broken_at, more = _walk(session, cursor, limit)
    if broken_at is None:
        broken_at = Break(last, "head_forged") if forged else _compare(session, head)
    next_cursor = last if more and broken_at is None else None
    signed = head.sequence if head else None
    return Verification(last - cursor, last, last_hash, signed, broken_at, next_cursor)


def verify_new(session: Session, heads: SignedHeads, limit: int) -> Verification:
    """Walk `limit` rows after the newest signed head."""
    head, _forged = _newest(heads)
    return verify(session, heads, head.sequence if head else 0, limit)


def _newest(heads: SignedHeads) -> tuple[Head | None, bool]:
    try:
        return heads.newest(), False
    except ForgedHeadError:
        return None, True


def _walk(session: Session, cursor: int, limit: int) -> tuple[int, bytes, Break | None, bool]:
    """Number and hash of the last right row, the break after it, and whether there is more."""
    last, previous = cursor, GENESIS if cursor == 0 else _hash_at(session, cursor)
    if previous is None:
        return last, GENESIS, Break(cursor, "missing"), False
    columns = [getattr(AuditLog, name) for name in FIELDS]
    statement = select(*columns, AuditLog.hash).where(AuditLog.sequence > cursor).order_by(AuditLog.sequence)
    rows = session.execute(statement.limit(limit)).all()
    for row in rows:
        if row.sequence != last + 1:
            return last, previous, Break(last + 1, "missing"), False
        if hash_row(previous, row._asdict()) != row.hash:
            return last, previous, Break(row.sequence, "altered"), False
        last, previous = row.sequence, row.hash
    return last, previous, None, len(rows) == limit


def _compare(session: Session, head: Head | None) -> Break | None:
    if head is None:
        return None
    found = _hash_at(session, head.sequence)
    if found is None:
        last = session.scalar(select(func.max(AuditLog.sequence))) or 0
        return Break(last + 1, "truncated") if last < head.sequence else Break(head.sequence, "missing")
    return None if found.hex() == head.hash else Break(head.sequence, "rewritten")


def _hash_at(session: Session, sequence: int) -> bytes | None:
    return session.scalar(select(AuditLog.hash).where(AuditLog.sequence == sequence))
