"""Whom to tell: asks the directory, outside any transaction, and writes one delivery per recipient."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from common.auth import Caller, service_caller
from common.cache import Pause
from common.database import ALL_ORGANIZATIONS, Database, notify
from common.errors import Unavailable, UpstreamTimeout
from common.http import InternalClient
from notification_service.actions import SEND, write_change
from notification_service.config import Settings
from notification_service.directory import Directory, Recipient
from notification_service.models import (
    FALLBACK,
    NOBODY,
    OPERATORS,
    QUIET_HOURS,
    URGENCY,
    AlertDelivery,
    NotificationRequest,
)

log = structlog.get_logger()

BATCH = 20
LEASE = timedelta(seconds=30)
SENDABLE = ("EMAIL", "LOG")
URGENT = ("high", "critical")

# Requests of one alert wait for each other, so that none misses the delivery another is just making.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


@dataclass(frozen=True)
class Audience:
    """The recipients, and why they are not the patient's own, if so."""

    recipients: tuple[Recipient, ...]
    reason: str | None = None


def resolve_batch(database: Database, client: InternalClient, settings: Settings, wishes_pause: Pause) -> int:
    """Find the recipients of some waiting requests; returns how many were looked at."""
    claimed = _claim(database)
    directory = Directory(client, wishes_pause)
    for request in claimed:
        caller = service_caller(database.service, request.org_id, request.request_id, request.traceparent)
        with structlog.contextvars.bound_contextvars(request_id=request.request_id):
            try:
                audience = _audience(directory, settings, caller, request)
            except (Unavailable, UpstreamTimeout) as error:
                if _postpone(database, request, error):
                    continue
                audience = _without_recipients(settings, "directory_away")
            _write_deliveries(database, caller, request, audience)
    return len(claimed)


def _claim(database: Database) -> list[NotificationRequest]:
    due = select(NotificationRequest).where(NotificationRequest.resolve_at <= func.now())
    due = due.order_by(URGENCY, NotificationRequest.resolve_at).limit(BATCH).with_for_update(skip_locked=True)
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        claimed = list(session.scalars(due))
        for request in claimed:
            request.resolve_at = datetime.now(UTC) + LEASE
    return claimed


def _audience(directory: Directory, settings: Settings, caller: Caller, request: NotificationRequest) -> Audience:
    """Raises Unavailable, UpstreamTimeout."""
    if request.channel not in SENDABLE:
        return Audience((), "channel_unavailable")
    if request.channel == "LOG":
        return Audience((Recipient(OPERATORS),))
    people = directory.find_people(caller, request.patient_id, request.level)
    chosen = tuple(person for person in people if _uses(person, request.channel, request.level))
    if chosen:
        return Audience(chosen)
    return _without_recipients(settings, "channel_not_chosen" if people else "no_recipient")


def _uses(person: Recipient, channel: str, level: str) -> bool:
    """Whether to tell a person through a channel; an urgent alarm uses any when those they chose reach nobody yet."""
    usable = [chosen for chosen in person.channels or SENDABLE if chosen in SENDABLE]
    return channel in usable or (not usable and level in URGENT)


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
        session.execute(_ONE_AT_A_TIME, {"key": str(current.alert_id)})
        for recipient in audience.recipients or (Recipient(NOBODY),):
            _supersede(session, caller, current, recipient)
            reason = audience.reason if recipient.wait_until is None else QUIET_HOURS
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
                reason=reason,
                failures=0,
                next_attempt_at=recipient.wait_until or datetime.now(UTC),
            )
            action = "delivery.queued" if audience.recipients else "delivery.failed"
            write_change(session, caller, delivery, action, reason=reason)
        notify(session, SEND)


def _supersede(session: Session, caller: Caller, request: NotificationRequest, recipient: Recipient) -> None:
    """Cancel what waits to tell the same person of the same alert: at the end of a night one letter is enough."""
    waiting = select(AlertDelivery).where(
        AlertDelivery.alert_id == request.alert_id,
        AlertDelivery.recipient == recipient.name,
        AlertDelivery.channel == request.channel,
        AlertDelivery.status == "QUEUED",
        AlertDelivery.reason == QUIET_HOURS,
        AlertDelivery.claimed_at.is_(None),
    )
    for delivery in session.scalars(waiting.with_for_update(key_share=True)):
        delivery.cancel()
        write_change(session, caller, delivery, "delivery.cancelled", reason="superseded")
