"""Writes of the notification service by people and by the alert service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from common.auth import Caller
from common.database import notify
from common.errors import Forbidden
from common.outbox import record
from notification_service import queries
from notification_service.events import DeliveryUpdate
from notification_service.models import AccountMail, AlertDelivery, DeliveryEvent, NotificationRequest, PushDevice

log = structlog.get_logger()

RESOLVE, SEND, SEND_ACCOUNT_MAILS = "resolve", "send", "account-mails"


def register_push_device(session: Session, caller: Caller, token: str, **values: Any) -> PushDevice:
    """Register a device of the caller; a token seen before is the same device, perhaps in other hands."""
    if caller.user_id is None:
        raise Forbidden
    device = queries.find_device_by_token(session, caller, token)
    if device is None:
        device = PushDevice(org_id=caller.org_id, user_id=caller.user_id, token=token, **values)
        session.add(device)
    else:
        device.change(user_id=caller.user_id, **values)
    record(session, caller, "push_device.registered", device, {"platform": device.platform})
    return device


def replace_push_device(session: Session, caller: Caller, device_id: UUID, **values: Any) -> PushDevice:
    """Replace a device's data; raises NotFound; a token that another device has is a conflict."""
    device = queries.get_push_device(session, caller, device_id)
    record(session, caller, "push_device.replaced", device, device.change(**values))
    return device


def remove_push_device(session: Session, caller: Caller, device_id: UUID) -> None:
    """Forget a device; raises NotFound."""
    device = queries.get_push_device(session, caller, device_id)
    session.delete(device)
    record(session, caller, "push_device.removed", device)


def request_notification(session: Session, caller: Caller, notification_id: UUID, **values: Any) -> None:
    """Store what the alert service asks for, once, and wake the task that finds the recipients."""
    if session.get(NotificationRequest, notification_id) is not None:
        return
    request = NotificationRequest(
        id=notification_id,
        org_id=caller.org_id,
        request_id=caller.request_id,
        traceparent=caller.traceparent,
        resolve_at=datetime.now(UTC),
        failures=0,
        **values,
    )
    session.add(request)
    record(session, caller, "notification.requested", request, {"channel": request.channel})
    notify(session, RESOLVE)


def queue_account_mail(session: Session, caller: Caller, account_mail_id: UUID, author: str = "auth") -> None:
    """Store the id that a letter has with its author, once, and wake the task that sends it."""
    if session.get(AccountMail, account_mail_id) is not None:
        return
    mail = AccountMail(
        id=account_mail_id,
        author=author,
        org_id=caller.org_id,
        status="QUEUED",
        failures=0,
        next_attempt_at=datetime.now(UTC),
        request_id=caller.request_id,
        traceparent=caller.traceparent,
    )
    session.add(mail)
    record(session, caller, "account_mail.queued", mail)
    notify(session, SEND_ACCOUNT_MAILS)


def retry_delivery(session: Session, caller: Caller, delivery_id: UUID) -> AlertDelivery:
    """Send a failed delivery again; raises NotFound, NothingToRetry, NobodyToReach."""
    delivery = queries.get_delivery(session, caller, delivery_id, to_change=True)
    delivery.requeue(datetime.now(UTC))
    write_change(session, caller, delivery, "delivery.retried", reason="retry")
    notify(session, SEND)
    return delivery


def write_change(
    session: Session, caller: Caller, delivery: AlertDelivery, action: str, *, reason: str | None = None
) -> None:
    """Write a delivery's new state into its events, the audit trail and the bus, and a failure into the log as well."""
    now = datetime.now(UTC)
    session.add(delivery)
    session.flush()
    session.add(
        DeliveryEvent(org_id=delivery.org_id, delivery_id=delivery.id, status=delivery.status, reason=reason, at=now)
    )
    update = DeliveryUpdate(
        delivery_id=delivery.id,
        notification_id=delivery.notification_id,
        alert_id=delivery.alert_id,
        channel=delivery.channel,
        status=delivery.status,
        at=now,
        reason=reason,
    )
    details = {"channel": delivery.channel, "status": delivery.status, "alert_id": str(delivery.alert_id)}
    if reason is not None:
        details["reason"] = reason
    record(session, caller, action, delivery, details, publish=update)
    if delivery.status == "FAILED":
        log.error("delivery.failed", delivery_id=str(delivery.id), **details)
