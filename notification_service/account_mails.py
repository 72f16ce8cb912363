"""Letters about accounts: their author says to whom and what only when they are sent, so no token rests here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import func, select

from common.auth import Caller, service_caller
from common.database import ALL_ORGANIZATIONS, Database
from common.errors import NotFound, Unavailable, UpstreamTimeout
from common.http import InternalClient
from common.outbox import record
from notification_service.config import Settings
from notification_service.letters import BadAddress, write_account_letter
from notification_service.mailer import MailConnection, MailDeferred, Mailer, MailRefused, MailServerAway
from notification_service.models import AccountMail

log = structlog.get_logger()

BATCH = 5
_PATHS = {"auth": "/internal/account-mails", "organization": "/internal/invitations"}


def send_batch(database: Database, client: InternalClient, mailer: Mailer, settings: Settings) -> int:
    """Send some of the letters that are due; returns how many were looked at."""
    claimed = _claim(database, timedelta(seconds=settings.delivery_lease_s))
    with mailer.open() as mail:
        for letter in claimed:
            caller = service_caller(database.service, letter.org_id, letter.request_id, letter.traceparent)
            with structlog.contextvars.bound_contextvars(request_id=letter.request_id):
                reason, final = _send(client, mail, settings, caller, letter)
                _mark(database, caller, letter, reason, final)
    return len(claimed)


def _claim(database: Database, lease: timedelta) -> list[AccountMail]:
    due = select(AccountMail).where(AccountMail.status == "QUEUED", AccountMail.next_attempt_at <= func.now())
    due = due.order_by(AccountMail.next_attempt_at).limit(BATCH).with_for_update(skip_locked=True)
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        claimed = list(session.scalars(due))
        for letter in claimed:
            letter.claim(datetime.now(UTC), lease)
    return claimed


def _send(
    client: InternalClient, mail: MailConnection, settings: Settings, caller: Caller, letter: AccountMail
) -> tuple[str | None, bool]:
    """Why it was not sent (None: it was), and whether that is final."""
    try:
        content = client.get(caller, letter.author, f"{_PATHS[letter.author]}/{letter.id}")
        mail.send(write_account_letter(settings, letter, content))
    except NotFound:
        return "expired", True
    except (MailRefused, BadAddress):
        return "refused", True
    except (Unavailable, UpstreamTimeout, MailDeferred, MailServerAway) as error:
        log.warning("account_mail.postponed", account_mail_id=str(letter.id), reason=type(error).__name__)
        return "unavailable", False
    return None, True


def _mark(database: Database, caller: Caller, letter: AccountMail, reason: str | None, final: bool) -> None:
    """An attempt that is not the last is technical: nothing happened that anybody needs to know."""
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        current = session.get_one(AccountMail, letter.id, with_for_update=True)
        if not current.waits:
            return
        if reason is None:
            current.succeed(datetime.now(UTC))
            record(session, caller, "account_mail.sent", current)
            return
        current.fail(datetime.now(UTC), reason, final=final)
        if not current.waits:
            log.error("account_mail.failed", account_mail_id=str(current.id), reason=reason)
            record(session, caller, "account_mail.failed", current, {"reason": reason})
