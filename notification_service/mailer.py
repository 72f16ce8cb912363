"""SMTP: one connection per batch, short timeouts, and three ways for a message not to be taken."""

from __future__ import annotations

import smtplib
import socket
import ssl
from email.message import EmailMessage
from types import TracebackType
from typing import Self

from notification_service.config import Settings

TIMEOUT_S = 5.0


class MailRefused(Exception):
    """The server will never take this message."""


class MailDeferred(Exception):
    """The server did not take this message now; it may later."""


class MailServerAway(Exception):
    """There is no server to talk to: no other message will do better."""


class Mailer:
    """Opens connections to the mail server of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def open(self) -> MailConnection:
        """A connection that is made with its first message."""
        return MailConnection(self._settings)

    def ping(self) -> None:
        """Raise MailServerAway when the server does not answer."""
        with self.open() as connection:
            connection.connect()


class MailConnection:
    """A connection used for one message after the other; a lost one is made anew for the next."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._smtp: smtplib.SMTP | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self._smtp is not None:
            self._smtp.close()  # no QUIT: what was taken is taken, and a silent server would hold us up

    def connect(self) -> smtplib.SMTP:
        """The open connection; raises MailServerAway."""
        if self._smtp is not None and self._smtp.sock is not None:
            return self._smtp
        settings = self._settings
        try:
            # Its own name for HELO: the default asks the DNS, which may take longer than any timeout here.
            smtp = smtplib.SMTP(
                settings.smtp_host, settings.smtp_port, local_hostname=socket.gethostname(), timeout=TIMEOUT_S
            )
            if settings.smtp_starttls:
                smtp.starttls(context=ssl.create_default_context())
            if settings.smtp_username:
                smtp.login(settings.smtp_username, settings.smtp_password or "")
        except (OSError, smtplib.SMTPException) as error:
            raise MailServerAway(type(error).__name__) from error
        self._smtp = smtp
        return smtp

    def send(self, message: EmailMessage) -> None:
        """Hand one message over; raises MailRefused, MailDeferred, MailServerAway."""
        smtp = self.connect()
        try:
            smtp.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _text in error.recipients.values()]
            raise _not_taken(max(codes)) from error
        except smtplib.SMTPDataError as error:
            raise _not_taken(error.smtp_code) from error
        except smtplib.SMTPNotSupportedError as error:
            raise MailRefused("the server takes no such address") from error
        except (OSError, smtplib.SMTPException) as error:
            # A refused sender is our own setting's fault: the operator may mend it before the last attempt.
            smtp.close()
            raise MailDeferred(type(error).__name__) from error


def _not_taken(code: int) -> MailRefused | MailDeferred:
    return MailRefused(str(code)) if code >= 500 else MailDeferred(str(code))
