"""What the auth service publishes."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from common.events import Event


class AccountMailQueued(Event, frozen=True, kw_only=True):
    """Send a letter about an account: `password_reset` or `password_changed`.

    It names neither the address nor the link: `GET /internal/account-mails/{id}` tells both at the moment of sending,
    so that no token rests in an outbox, a queue or a backup.
    """

    type: ClassVar[str] = "account.mail"
    exchange: ClassVar[str] = "notification.topic"

    account_mail_id: UUID
    user_id: UUID
    kind: str

    @property
    def subject(self) -> str:
        return str(self.user_id)
