"""Sending: claim some deliveries, hand each to its channel outside any transaction, write what became of it.

A crash in between leaves a claimed row whose lease ends; it is sent again with the same Message-ID.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from common.auth import Caller, service_caller
from common.database import ALL_ORGANIZATIONS, Database
from common.errors import NotFound, Unavailable, UpstreamTimeout
from common.failpoints import failpoint
from common.http import InternalClient
from common.permissions import Permission
from notification_service.actions import write_change
from notification_service.config import Settings
from notification_service.letters import BadAddress, write_letter
from notification_service.mailer import MailConnection, MailDeferred, Mailer, MailRefused, MailServerAway
from notification_service.models import QUIET_HOURS, URGENCY, AlertDelivery

log = structlog.get_logger()

BATCH = 20
OVER = ("resolved", "closed")


def send_batch(database: Database, client: InternalClient, mailer: Mailer, settings: Settings) -> int:
    """Send some of the deliveries that are due, the most urgent first; returns how many were looked at."""
    lease = timedelta(seconds=settings.delivery_lease_s)
    claimed = _claim(database, lease)
    # What is not begun by half of the lease is left for when it ends: a slow server must not make two senders of one.
    stop_at = time.monotonic() + settings.delivery_lease_s / 2
    away: MailServerAway | None = None
    alerts = _Alerts(database, client)
    with mailer.open() as mail:
        for delivery in claimed:
            if time.monotonic() > stop_at:
                break
            failpoint("delivery.between_claim_and_send")
            if delivery.reason == QUIET_HOURS and alerts.is_over(delivery):
                _mark_cancelled(database, delivery)
                continue
            try:
                if away is not None and delivery.channel == "EMAIL":
                    raise away
                _send(mail, settings, delivery)
            except (MailRefused, BadAddress) as error:
                reason = "address" if isinstance(error, BadAddress) else "refused"
                _mark_failed(database, delivery, reason, final=True)
            except MailDeferred as error:
                log.warning("mail.deferred", reason=str(error))
                _mark_failed(database, delivery, "deferred")
            except MailServerAway as error:
                if away is None:
                    log.warning("mail.server_away", reason=str(error))
                away = error
                _mark_failed(database, delivery, "server_away")
            else:
                failpoint("delivery.between_send_and_mark")
                _mark_sent(database, delivery)
    return len(claimed)


def _claim(database: Database, lease: timedelta) -> list[AlertDelivery]:
    due = (
        select(AlertDelivery)
        .join(AlertDelivery.request)
        .options(joinedload(AlertDelivery.request))
        .where(AlertDelivery.status == "QUEUED", AlertDelivery.next_attempt_at <= func.now())
        .order_by(URGENCY, AlertDelivery.next_attempt_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True, key_share=True, of=AlertDelivery)
    )
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        claimed = list(session.scalars(due))
        for delivery in claimed:
            delivery.claim(datetime.now(UTC), lease)
    return claimed


class _Alerts:
    """Whether an alert is still to be told of when quiet hours end; without an answer it is."""

    def __init__(self, database: Database, client: InternalClient) -> None:
        self._database, self._client = database, client
        self._away = False

    def is_over(self, delivery: AlertDelivery) -> bool:
        """True when somebody has resolved the alert while the delivery waited."""
        if self._away:
            return False
        caller, path = _caller(self._database, delivery), f"/alerts/{delivery.alert_id}"
        try:
            return self._client.get(caller, "alert", path, permissions=[Permission.ALERT_READ])["status"] in OVER
        except NotFound:
            return True
        except (Unavailable, UpstreamTimeout) as error:
            log.warning("delivery.alert_unknown", reason=type(error).__name__)
            self._away = True  # the rest of the batch must not wait for the same answer
            return False


def _send(mail: MailConnection, settings: Settings, delivery: AlertDelivery) -> None:
    request = delivery.request
    if delivery.channel == "EMAIL":
        mail.send(write_letter(settings, request, delivery))
    else:
        log.warning(
            "alarm",
            request_id=request.request_id,
            org_id=str(request.org_id),
            alert_id=str(request.alert_id),
            level=request.level,
            alert_type=request.alert_type,
            observed_at=request.observed_at.isoformat(),
        )


def _mark_sent(database: Database, delivery: AlertDelivery) -> None:
    with database.transaction(delivery.org_id) as session:
        current = session.get_one(AlertDelivery, delivery.id, with_for_update=True)
        if current.waits:
            current.succeed(datetime.now(UTC))
            write_change(session, _caller(database, delivery), current, "delivery.sent")


def _mark_cancelled(database: Database, delivery: AlertDelivery) -> None:
    with database.transaction(delivery.org_id) as session:
        current = session.get_one(AlertDelivery, delivery.id, with_for_update=True)
        if current.waits:
            current.cancel()
            write_change(session, _caller(database, delivery), current, "delivery.cancelled", reason="alert_over")


def _mark_failed(database: Database, delivery: AlertDelivery, reason: str, *, final: bool = False) -> None:
    """An attempt that is not the last is technical: nothing happened that anybody needs to know."""
    with database.transaction(delivery.org_id, technical=True) as session:
        current = session.get_one(AlertDelivery, delivery.id, with_for_update=True)
        if current.waits:
            current.fail(datetime.now(UTC), reason, final=final)
            if not current.waits:
                write_change(session, _caller(database, delivery), current, "delivery.failed", reason=reason)


def _caller(database: Database, delivery: AlertDelivery) -> Caller:
    return service_caller(database.service, delivery.org_id, delivery.request.request_id, delivery.request.traceparent)
