"""The one write of the audit service: rows at the end of the chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session
from uuid6 import uuid7

from audit_service.chain import GENESIS, hash_row
from audit_service.models import AuditLog

# One chain crosses all organisations, so its writer sees them all; one writer at a time, until its transaction ends.
_CHAIN_LOCK = 7_240_011
_TAKE_CHAIN = text("SELECT pg_advisory_xact_lock(:key), set_config('app.org_id', 'all', true)")
_LAST = select(AuditLog.sequence, AuditLog.hash).order_by(AuditLog.sequence.desc()).limit(1)
_INSERT = insert(AuditLog.__table__)  # type: ignore[arg-type]


def append(session: Session, events: Sequence[dict[str, Any]]) -> None:
    """Append rows with these column values to the chain, in their order."""
    # On the connection: the trail is where audit events end, so a row of it needs no event of its own.
    connection = session.connection()
    connection.execute(_TAKE_CHAIN, {"key": _CHAIN_LOCK})
    last = connection.execute(_LAST).first()
    sequence, previous = (last.sequence, last.hash) if last else (0, GENESIS)
    rows = []
    for event in events:
        sequence += 1
        row = {"sequence": sequence, "id": uuid7(), **event}
        previous = row["hash"] = hash_row(previous, row)
        rows.append(row)
    connection.execute(_INSERT, rows)
