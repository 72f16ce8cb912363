"""A private SMTP server that keeps what it is sent."""

from __future__ import annotations

import socket
import sys
from email.message import EmailMessage
from pathlib import Path

from ops.native import mail
from ops.native.servers.base import LOOPBACK, ROOT, Server


class MailCatcher(Server):
    """Accepts every e-mail on loopback SMTP and keeps it as a file; delivers nothing."""

    name = "mail"

    def __init__(self, folder: Path, port: int, keep: int = mail.KEEP) -> None:
        super().__init__(folder, port)
        self.keep = keep

    @property
    def messages_folder(self) -> Path:
        return self.folder / "messages"

    @property
    def url(self) -> str:
        return f"smtp://{LOOPBACK}:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "ops.native.mail", str(self.port), str(self.messages_folder), str(self.keep)]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": str(ROOT)}

    def answers(self) -> bool:
        with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
            return connection.recv(4).startswith(b"220")

    def messages(self) -> list[EmailMessage]:
        """Every message kept, oldest first."""
        return mail.read(self.messages_folder)
