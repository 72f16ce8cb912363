"""What the audit service listens to: every service's audit events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from sqlalchemy.orm import Session

from audit_service import actions
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


@consumer("audit.trail", exchange="audit.fanout", payload=AuditLogged, batch=True)
def keep_events(session: Session, events: Sequence[AuditLogged]) -> None:
    """Append events to the trail, in the order in which they came."""
    actions.append(session, [msgspec.structs.asdict(event) for event in events])
