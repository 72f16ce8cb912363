"""The outbox: what a transaction wants to say, written with it and published after it, once and surely.

`record()` is the only way to say something. The relay runs in the service's worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from common.auth import Caller
from common.database import ALL_ORGANIZATIONS, Database, notify
from common.events import AuditLog, Event, wrap
from common.failpoints import failpoint
from common.observability import PUBLISHED
from common.publishing import Message, Publisher
from common.tables import outbox

log = structlog.get_logger()

BATCH = 100
WAKE = "outbox"


def record(
    session: Session,
    caller: Caller,
    action: str,
    entity: Any,
    changes: dict[str, Any] | Iterable[str] = (),
    *,
    publish: Event | Sequence[Event] = (),
) -> None:
    """Write the audit event of `action` on `entity`, and the domain events, into this transaction's outbox.

    `entity` is a row (its table and id are named) or a text `"kind"` / `"kind:id"`. `changes` names fields, or maps
    fields to values that are neither clinical nor personal (a state, a count, a code).
    """
    session.flush()
    kind, entity_id = _name(entity)
    details = changes if isinstance(changes, dict) else {"fields": sorted(changes)} if changes else {}
    org_id = caller.org_id or getattr(entity, "org_id", None)
    audit = AuditLog(
        actor=caller.subject,
        action=action,
        entity=kind,
        entity_id=entity_id,
        org_id=org_id,
        ip=caller.ip,
        user_agent=caller.user_agent,
        request_id=caller.request_id,
        ts=datetime.now(UTC),
        details=details,
    )
    events = [publish] if isinstance(publish, Event) else list(publish)
    rows = [_row(session, caller, org_id, event) for event in (*events, audit)]
    # On the connection: the outbox is not a business row, so the audit guard need not see it.
    session.connection().execute(outbox.insert(), rows)
    notify(session, WAKE)
    session.info["recorded"] = True


def _name(entity: Any) -> tuple[str, str | None]:
    if isinstance(entity, str):
        kind, _, entity_id = entity.partition(":")
        return kind, entity_id or None
    return entity.__tablename__, str(getattr(entity, "id", "")) or None


def _row(session: Session, caller: Caller, org_id: Any, event: Event) -> dict[str, Any]:
    message_id, body = wrap(
        event, source=session.info["service"], org_id=org_id, actor=caller.subject, request_id=caller.request_id
    )
    return {
        "message_id": message_id,
        "exchange": event.exchange,
        "routing_key": event.routing_key,
        "type": event.type,
        "headers": {
            "x-request-id": caller.request_id,
            "traceparent": caller.traceparent,
            "mandatory": event.mandatory,
        },
        "body": body,
    }


_CLAIM = text(
    "SELECT id, message_id, exchange, routing_key, type, headers, body FROM outbox WHERE not_before <= now()"
    " ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED"
)
_DELETE = text("DELETE FROM outbox WHERE id = ANY(:ids)")
_POSTPONE = text("UPDATE outbox SET not_before = now() + interval '5 seconds' WHERE id = ANY(:ids)")


def relay(database: Database, publisher: Publisher) -> int:
    """Publish one batch and delete what the broker confirmed; returns how many rows were looked at.

    Raises common.publishing.BrokerAway when the connection is lost: the batch stays and is sent again, same ids.
    """
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        rows = session.execute(_CLAIM, {"batch": BATCH}).all()
        if not rows:
            return 0
        failpoint("relay.before_publish")
        refused = publisher.publish([_message(row) for row in rows])
        failpoint("relay.between_publish_and_mark")
        sent = [row.id for row in rows if row.message_id not in refused]
        session.execute(_DELETE, {"ids": sent})
        if refused:
            # Nobody listens yet, or the queue is full: the broker has not taken it, so it stays ours.
            log.warning(
                "outbox.refused", count=len(refused), types=sorted({r.type for r in rows if r.message_id in refused})
            )
            session.execute(_POSTPONE, {"ids": [row.id for row in rows if row.message_id in refused]})
        PUBLISHED.labels(database.service).inc(len(sent))
    return len(rows)


def _message(row: Any) -> Message:
    headers = row.headers
    return Message(
        id=row.message_id,
        exchange=row.exchange,
        routing_key=row.routing_key,
        type=row.type,
        body=bytes(row.body),
        request_id=headers.get("x-request-id", ""),
        traceparent=headers.get("traceparent", ""),
        mandatory=headers.get("mandatory", True),
    )
