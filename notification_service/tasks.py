"""What the notification service does in the background."""

from __future__ import annotations

from common.database import Database
from common.http import InternalClient
from common.tasks import task
from notification_service import recipients, sending
from notification_service.actions import RESOLVE, SEND
from notification_service.config import Settings
from notification_service.mailer import Mailer


@task(RESOLVE, every=1.0)
def find_recipients(database: Database, client: InternalClient, settings: Settings) -> int:
    """Turn requests into deliveries."""
    return recipients.resolve_batch(database, client, settings)


@task(SEND, every=0.5)
def send_deliveries(database: Database, mailer: Mailer, settings: Settings) -> int:
    """Send what is due."""
    return sending.send_batch(database, mailer, settings)
