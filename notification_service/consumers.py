"""Where the notification service listens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import Meta

from common.events import Event
from common.messaging import consumer
from notification_service import actions
from notification_service.events import Channel

Level = Literal["low", "medium", "high", "critical"]
TypeCode = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]{0,39}$")]


class AlertNotify(Event, frozen=True, kw_only=True):
    """Somebody has to be told of an alert through a channel."""

    type: ClassVar[str] = "alert.notify"
    exchange: ClassVar[str] = "notification.topic"

    notification_id: UUID
    alert_id: UUID
    patient_id: UUID
    level: Level
    alert_type: TypeCode
    channel: Channel
    observed_at: datetime


@consumer("notification.requests", exchange="notification.topic", payload=AlertNotify, routing_key="alert.notify.*")
def request_notification(session, caller, event):
    """Store the request, once, and wake the task that finds the recipients."""
    actions.request_notification(
        session,
        caller,
        event.notification_id,
        alert_id=event.alert_id,
        patient_id=event.patient_id,
        level=event.level,
        alert_type=event.alert_type,
        channel=event.channel,
        observed_at=event.observed_at,
    )


class AccountMailQueued(Event, frozen=True, kw_only=True):
    """The auth service has a letter about an account to send."""

    type: ClassVar[str] = "account.mail"
    exchange: ClassVar[str] = "notification.topic"

    account_mail_id: UUID


@consumer("notification.account-mails", exchange="notification.topic", payload=AccountMailQueued)
def queue_account_mail(session, caller, event):
    """Store the letter's id, once, and wake the task that sends it."""
    actions.queue_account_mail(session, caller, event.account_mail_id)


class InvitationQueued(Event, frozen=True, kw_only=True):
    """The organization service has an invitation to send."""

    type: ClassVar[str] = "invitation.mail"
    exchange: ClassVar[str] = "notification.topic"

    invitation_id: UUID


@consumer("notification.account-mails", exchange="notification.topic", payload=InvitationQueued)
def queue_invitation(session, caller, event):
    """Store the invitation's id, once, and wake the task that sends it."""
    actions.queue_account_mail(session, caller, event.invitation_id, author="organization")
