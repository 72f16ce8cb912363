"""Whom to tell: asks the patient and auth services, outside any transaction, and writes one delivery per recipient."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func, select

from common.auth import Caller, service_caller
from common.database import ALL_ORGANIZATIONS, Database, notify
from common.errors import NotFound, Unavailable, UpstreamTimeout
from common.http import InternalClient
from notification_service.actions import SEND, write_change
from notification_service.config import Settings
from notification_service.models import FALLBACK, NOBODY, OPERATORS, AlertDelivery, NotificationRequest

log = structlog.get_logger()

BATCH = 20
LEASE = timedelta(seconds=30)
CONTACTS_AT_ONCE = 500
SENDABLE = ("EMAIL", "LOG")
LANGUAGES = ("es", "en")


@dataclass(frozen=True)
class Recipient:
    """Somebody to tell; `name` is a user's id, or operators, fallback, nobody."""

    name: str
    user_id: UUID | None = None
    address: str | None = None
    language: str = "es"


@dataclass(frozen=True)
class Audience:
    """The recipients, and why they are not the patient's own, if so."""

    recipients: tuple[Recipient, ...]
    reason: str | None = None


def resolve_batch(database: Database, client: InternalClient, settings: Settings) -> int:
    """Find the recipients of some waiting requests; returns how many were looked at."""
    claimed = _claim(database)
    found: dict[tuple[UUID, UUID], list[Recipient]] = {}
    for request in claimed:
        caller = service_caller(database.service, request.org_id, request.request_id, request.traceparent)
        with structlog.contextvars.bound_contextvars(request_id=request.request_id):
            try:
                audience = _audience(client, settings, caller, request, found)
            except (Unavailable, UpstreamTimeout) as error:
                if _postpone(database, request, error):
                    continue
                audience = _without_recipients(settings, "directory_away")
            _write_deliveries(database, caller, request, audience)
    return len(claimed)


def _claim(database: Database) -> list[NotificationRequest]:
    due = select(NotificationRequest).where(NotificationRequest.resolve_at <= func.now())
    due = due.order_by(NotificationRequest.resolve_at).limit(BATCH).with_for_update(skip_locked=True)
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        claimed = list(session.scalars(due))
        for request in claimed:
            request.resolve_at = datetime.now(UTC) + LEASE
    return claimed


def _audience(
    client: InternalClient,
    settings: Settings,
    caller: Caller,
    request: NotificationRequest,
    found: dict[tuple[UUID, UUID], list[Recipient]],
) -> Audience:
    """Raises Unavailable, UpstreamTimeout. `found` remembers answers within one batch."""
    if request.channel not in SENDABLE:
        return Audience((), "channel_unavailable")
    if request.channel == "LOG":
        return Audience((Recipient(OPERATORS),))
    key = (request.org_id, request.patient_id)
    if key not in found:
        found[key] = _contacts(client, caller, request.patient_id)
    return Audience(tuple(found[key])) if found[key] else _without_recipients(settings, "no_recipient")


def _contacts(client: InternalClient, caller: Caller, patient_id: UUID) -> list[Recipient]:
    try:
        user_ids = client.get(caller, "patient", f"/patients/{patient_id}/recipients")["user_ids"]
    except NotFound:
        return []
    found: list[Recipient] = []
    for start in range(0, len(user_ids), CONTACTS_AT_ONCE):
        body = {"user_ids": user_ids[start : start + CONTACTS_AT_ONCE]}
        contacts = client.post(caller, "auth", "/internal/contacts", body)["contacts"]
        found += [_recipient(contact) for contact in contacts if contact.get("email")]
    return found


def _recipient(contact: dict[str, Any]) -> Recipient:
    language = contact.get("language")
    return Recipient(
        name=contact["user_id"],
        user_id=UUID(contact["user_id"]),
        address=contact["email"],
        language=language if language in LANGUAGES else LANGUAGES[0],
    )


def _without_recipients(settings: Settings, reason: str) -> Audience:
    if not settings.alarm_fallback_email:
        return Audience((), reason)
    return Audience((Recipient(FALLBACK, address=settings.alarm_fallback_email),), reason)


def _postpone(database: Database, request: NotificationRequest, error: Exception) -> bool:
    log.warning("notification.recipients_unknown", notification_id=str(request.id), reason=type(error).__name__)
    with database.transaction(request.org_id, technical=True) as session:
        current = session.get_one(NotificationRequest, request.id, with_for_update=True)
        return current.resolve_at is not None and current.postpone(datetime.now(UTC))


def _write_deliveries(database: Database, caller: Caller, request: NotificationRequest, audience: Audience) -> None:
    """One delivery per recipient; without any, one that has failed: an alarm that reaches nobody is never silent."""
    with database.transaction(request.org_id) as session:
        current = session.get_one(NotificationRequest, request.id, with_for_update=True)
        if current.resolve_at is None:
            return  # our lease had ended, and another worker was faster
        current.resolve_at = None
        for recipient in audience.recipients or (Recipient(NOBODY),):
            delivery = AlertDelivery(
                org_id=current.org_id,
                notification_id=current.id,
                alert_id=current.alert_id,
                channel=current.channel,
                recipient=recipient.name,
                user_id=recipient.user_id,
                address=recipient.address,
                language=recipient.language,
                status="QUEUED" if audience.recipients else "FAILED",
                reason=audience.reason,
                failures=0,
                next_attempt_at=datetime.now(UTC),
            )
            action = "delivery.queued" if audience.recipients else "delivery.failed"
            write_change(session, caller, delivery, action, reason=audience.reason)
        notify(session, SEND)
