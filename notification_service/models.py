"""Tables of the notification service, and the states of a delivery."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, case, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from common.database import Entity, service_registry
from notification_service.errors import NobodyToReach, NothingToRetry
from notification_service.events import Channel, Status

STATUSES = ("QUEUED", "SENT", "DELIVERED", "READ", "FAILED", "CANCELLED")
CHANNELS = ("SMS", "EMAIL", "PUSH", "WEBHOOK", "LOG")
PLATFORMS = ("android", "ios", "web")
# Seconds to wait after the first, second ... failed attempt; one more failure is the last.
BACKOFF_S = (1, 5, 30, 120, 300)
NOBODY, OPERATORS, FALLBACK = "nobody", "operators", "fallback"
QUIET_HOURS = "quiet_hours"
"""The reason of a delivery that waits for the end of somebody's quiet hours."""
AUTHORS = ("auth", "organization")
"""The services that know what a letter about an account says."""


class Base(DeclarativeBase):
    """The base of this service's models."""

    registry = service_registry()


class DeliveryStatus(Base):
    """The states of a delivery, with their words."""

    __tablename__ = "delivery_statuses"

    code: Mapped[str] = mapped_column(String(20), primary_key=True)
    label_es: Mapped[str] = mapped_column(String(80))
    label_en: Mapped[str] = mapped_column(String(80))
    position: Mapped[int]


class _Attempts:
    """Mixin of something to send: its state, and when to try next.

    A sender claims a queued row by moving `next_attempt_at` past its lease, so one that crashed is taken up again.
    """

    status: Mapped[Status] = mapped_column(ForeignKey("delivery_statuses.code"))
    reason: Mapped[str | None] = mapped_column(String(40))
    failures: Mapped[int]
    claimed_at: Mapped[datetime | None]
    next_attempt_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]

    @property
    def waits(self) -> bool:
        """True until it was sent or given up."""
        return self.status == "QUEUED"

    def claim(self, now: datetime, lease: timedelta) -> None:
        """Take it for sending; without a result when the lease ends, somebody else may."""
        self.claimed_at, self.next_attempt_at = now, now + lease

    def succeed(self, now: datetime) -> None:
        """The channel took it."""
        self.status, self.sent_at, self.reason = "SENT", now, None

    def fail(self, now: datetime, reason: str, *, final: bool = False) -> None:
        """It was not taken: wait for the next attempt, or give up after the last."""
        self.failures += 1
        self.reason = reason
        if final or self.failures > len(BACKOFF_S):
            self.status = "FAILED"
        else:
            self.next_attempt_at = now + timedelta(seconds=BACKOFF_S[self.failures - 1])


class PushDevice(Entity, Base):
    """A phone or browser of a user."""

    __tablename__ = "push_devices"
    __table_args__ = (
        CheckConstraint("platform IN ('android', 'ios', 'web')", name="platform"),
        UniqueConstraint("org_id", "token"),
    )

    org_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(index=True)
    platform: Mapped[str] = mapped_column(String(10))
    token: Mapped[str] = mapped_column(String(1000))
    name: Mapped[str | None] = mapped_column(String(80))

    def change(self, **values: Any) -> list[str]:
        """Set the given fields; returns the names of those that changed."""
        changed = [name for name, value in values.items() if getattr(self, name) != value]
        for name in changed:
            setattr(self, name, values[name])
        return changed


class NotificationRequest(Entity, Base):
    """What the alert service asked for; its id is the notification's. Recipients known: `resolve_at` is None."""

    __tablename__ = "notification_requests"
    __table_args__ = (
        Index("ix_notification_requests_due", "resolve_at", postgresql_where=text("resolve_at IS NOT NULL")),
    )

    org_id: Mapped[UUID]
    alert_id: Mapped[UUID] = mapped_column(index=True)
    patient_id: Mapped[UUID]
    level: Mapped[str] = mapped_column(String(20))
    alert_type: Mapped[str] = mapped_column(String(40))
    channel: Mapped[Channel] = mapped_column(String(20))
    observed_at: Mapped[datetime]
    request_id: Mapped[str] = mapped_column(String(128))
    traceparent: Mapped[str] = mapped_column(String(60))
    resolve_at: Mapped[datetime | None]
    failures: Mapped[int]

    def postpone(self, now: datetime) -> bool:
        """Try to find the recipients later; False when the last attempt was the last."""
        self.failures += 1
        if self.failures > len(BACKOFF_S):
            return False
        self.resolve_at = now + timedelta(seconds=BACKOFF_S[self.failures - 1])
        return True


URGENCY = case({"critical": 0, "high": 1, "medium": 2}, value=NotificationRequest.level, else_=3)
"""What to order by where many alarms wait: the most urgent first."""


class AlertDelivery(_Attempts, Entity, Base):
    """One notification on its way to one recipient."""

    __tablename__ = "alert_delivery"
    __table_args__ = (
        UniqueConstraint("notification_id", "recipient", "channel"),
        Index("ix_alert_delivery_org_id_id", "org_id", "id"),
        Index("ix_alert_delivery_due", "next_attempt_at", postgresql_where=text("status = 'QUEUED'")),
    )

    org_id: Mapped[UUID]
    notification_id: Mapped[UUID] = mapped_column(ForeignKey("notification_requests.id", ondelete="CASCADE"))
    alert_id: Mapped[UUID] = mapped_column(index=True)
    channel: Mapped[Channel] = mapped_column(String(20))
    recipient: Mapped[str] = mapped_column(String(40))
    user_id: Mapped[UUID | None]
    address: Mapped[str | None] = mapped_column(String(150))
    language: Mapped[str] = mapped_column(String(2))
    request: Mapped[NotificationRequest] = relationship(lazy="raise")

    def succeed(self, now: datetime) -> None:
        """The channel took it; the address is kept no longer than it is needed."""
        super().succeed(now)
        self.address = None

    def cancel(self) -> None:
        """Nobody needs it any more."""
        self.status, self.address = "CANCELLED", None

    def requeue(self, now: datetime) -> None:
        """Begin again after a failure; raises NothingToRetry, NobodyToReach."""
        if self.status != "FAILED":
            raise NothingToRetry(current=self.status)
        if self.recipient == NOBODY:
            raise NobodyToReach
        self.status, self.failures, self.next_attempt_at = "QUEUED", 0, now


class DeliveryEvent(Entity, Base):
    """One change of a delivery; rows are only added."""

    __tablename__ = "delivery_events"

    org_id: Mapped[UUID]
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("alert_delivery.id", ondelete="CASCADE"), index=True)
    status: Mapped[Status] = mapped_column(ForeignKey("delivery_statuses.code"))
    reason: Mapped[str | None] = mapped_column(String(40))
    at: Mapped[datetime]


class AccountMail(_Attempts, Entity, Base):
    """A letter that another service asked for, by the id it has there; what it says stays there."""

    __tablename__ = "account_mails"
    __table_args__ = (Index("ix_account_mails_due", "next_attempt_at", postgresql_where=text("status = 'QUEUED'")),)

    author: Mapped[str] = mapped_column(String(20), server_default=AUTHORS[0])
    org_id: Mapped[UUID | None]
    request_id: Mapped[str] = mapped_column(String(128))
    traceparent: Mapped[str] = mapped_column(String(60))
