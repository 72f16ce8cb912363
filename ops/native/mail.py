"""A mail server that keeps what it gets: one `.eml` file a message, the newest 500."""

from __future__ import annotations

import asyncio
import email
import email.policy
import itertools
import os
import signal
import sys
import time
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

KEEP = 500
LARGEST_BYTES = 1024 * 1024


class Keeper:
    """Writes each accepted message; a reader never sees half of one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = itertools.count()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        recipients = ", ".join(envelope.rcpt_tos)
        head = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {recipients}\r\n"
        path = self.folder / f"{time.time_ns():020d}-{next(self.numbers):06d}.eml"
        part = path.with_suffix(".part")
        part.write_bytes(head.encode() + (envelope.original_content or b""))
        part.rename(path)
        for old in sorted(self.folder.glob("*.eml"))[:-KEEP]:
            old.unlink()
        return "250 OK kept"


def read(folder: Path) -> list[EmailMessage]:
    """The kept messages, oldest first."""
    return [
        email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        for path in sorted(folder.glob("*.eml"))
    ]


async def serve(port: int, folder: Path) -> None:
    """Accept messages on loopback until SIGTERM."""
    os.umask(0o077)
    folder.mkdir(parents=True, exist_ok=True)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    keeper = Keeper(folder)
    server = await loop.create_server(
        lambda: SMTP(keeper, hostname="localhost", data_size_limit=LARGEST_BYTES, timeout=30), "127.0.0.1", port
    )
    async with server:
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
