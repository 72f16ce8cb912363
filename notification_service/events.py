"""What the notification service publishes."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from common.events import Event

Channel = Literal["SMS", "EMAIL", "PUSH", "WEBHOOK", "LOG"]
Status = Literal["QUEUED", "SENT", "DELIVERED", "READ", "FAILED", "CANCELLED"]


class DeliveryUpdate(Event, frozen=True, kw_only=True):
    """What became of one delivery. `reason` is a code; no address and no text travels."""

    type: ClassVar[str] = "alert.delivery_update"
    exchange: ClassVar[str] = "notification.topic"

    delivery_id: UUID
    notification_id: UUID
    alert_id: UUID
    channel: Channel
    status: Status
    at: datetime
    reason: str | None = None

    @property
    def routing_key(self) -> str:
        """`alert.delivery_update.<status>`, in lower case."""
        return f"{self.type}.{self.status.lower()}"

    @property
    def subject(self) -> str:
        """The delivery."""
        return str(self.delivery_id)
