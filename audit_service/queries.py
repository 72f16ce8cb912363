"""Reads of the audit trail, within the caller's organisation."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from audit_service.models import AuditLog
from common.auth import Caller
from common.database import get_one
from common.pagination import Page, paginate


def visible_logs(caller: Caller) -> Select[Any]:
    """The rows of the caller's organisation; those without one (the system's) for a superadmin who names none."""
    return select(AuditLog).where(AuditLog.org_id == caller.org_id)


def get_log(session: Session, caller: Caller, log_id: UUID) -> AuditLog:
    """One row; raises NotFound."""
    return get_one(session, visible_logs(caller).where(AuditLog.id == log_id))


def find_logs(
    session: Session,
    caller: Caller,
    limit: int,
    cursor: str | None,
    since: datetime | None = None,
    until: datetime | None = None,
    **equal: str | None,
) -> Page:
    """The rows whose columns are `equal` and whose time is in [since, until), newest first."""
    statement = visible_logs(caller)
    for name, value in equal.items():
        if value is not None:
            statement = statement.where(getattr(AuditLog, name) == value)
    if since is not None:
        statement = statement.where(AuditLog.ts >= since)
    if until is not None:
        statement = statement.where(AuditLog.ts < until)
    return paginate(session, statement, AuditLog.id, limit, cursor)


def asked(query: dict[str, Any]) -> dict[str, str]:
    """The filters of a search as audit details: whoever reads the trail leaves one too."""
    return {name: str(value) for name, value in query.items() if value is not None and name not in ("limit", "cursor")}
