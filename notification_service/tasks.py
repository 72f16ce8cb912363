"""What the notification service does in the background."""

from __future__ import annotations

from common.cache import Pause
from common.database import Database
from common.http import InternalClient
from common.tasks import task
from notification_service import account_mails, recipients, sending
from notification_service.actions import RESOLVE, SEND, SEND_ACCOUNT_MAILS
from notification_service.config import Settings
from notification_service.mailer import Mailer


@task(RESOLVE, every=1.0)
def find_recipients(database: Database, client: InternalClient, settings: Settings, wishes_pause: Pause) -> int:
    """Turn requests into deliveries."""
    return recipients.resolve_batch(database, client, settings, wishes_pause)


@task(SEND, every=0.5)
def send_deliveries(database: Database, client: InternalClient, mailer: Mailer, settings: Settings) -> int:
    """Send what is due."""
    return sending.send_batch(database, client, mailer, settings)


@task(SEND_ACCOUNT_MAILS, every=2.0)
def send_account_mails(database: Database, client: InternalClient, mailer: Mailer, settings: Settings) -> int:
    """Send letters about accounts."""
    return account_mails.send_batch(database, client, mailer, settings)
