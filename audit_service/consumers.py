"""What the audit service listens to: every service's audit events."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy.orm import Session

from audit_service import actions
from common.auth import Caller
from common.events import Event
from common.messaging import consumer


class AuditLogged(Event, frozen=True, kw_only=True):
    """Something happened: all that the trail keeps of it."""

    type: ClassVar[str] = "audit.log"
    exchange: ClassVar[str] = "audit.fanout"

    actor: str
    action: str
    entity: str
    entity_id: str | None = None
    org_id: UUID | None = None
    ip: str | None = None
    user_agent: str | None = None
    request_id: str = ""
    ts: datetime
    details: dict[str, Any] = {}


@consumer("audit.trail", exchange="audit.fanout", payload=AuditLogged)
def keep_event(session: Session, _caller: Caller, event: AuditLogged) -> None:
    """Append an event to the trail."""
    actions.append(
        session,
        org_id=event.org_id,
        ts=event.ts,
        actor=event.actor,
        action=event.action,
        entity=event.entity,
        entity_id=event.entity_id,
        ip=event.ip,
        user_agent=event.user_agent,
        request_id=event.request_id,
        details=event.details,
    )
