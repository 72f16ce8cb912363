"""A mail server that keeps what it gets, one `.eml` file a message, and shows it.

`python -m ops.native.mail PORT FOLDER KEEP [HOST]` serves, `python -m ops.native.mail show FOLDER COUNT` shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import itertools
import os
import signal
import sys
import time
from collections import deque
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

KEEP = 500
LARGEST_BYTES = 1024 * 1024


class Keeper:
    """Writes each accepted message; a reader never sees half of one."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.numbers = itertools.count()
        self.keep = keep
        self.kept = deque(sorted(folder.glob("*.eml")))

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        recipients = ", ".join(envelope.rcpt_tos)
        head = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {recipients}\r\n"
        path = self.folder / f"{time.time_ns():020d}-{next(self.numbers):06d}.eml"
        part = path.with_suffix(".part")
        part.write_bytes(head.encode() + (envelope.original_content or b""))
        part.rename(path)
        self.kept.append(path)
        while len(self.kept) > self.keep:
            self.kept.popleft().unlink(missing_ok=True)
        return "250 OK kept"


def read(folder: Path) -> list[EmailMessage]:
    """The kept messages, oldest first."""
    messages = []
    for path in sorted(folder.glob("*.eml")):
        with contextlib.suppress(FileNotFoundError):  # made room for a newer one meanwhile
            messages.append(email.message_from_bytes(path.read_bytes(), policy=email.policy.default))
    return messages


def show(folder: Path, count: int) -> None:
    """Print the newest of the kept messages."""
    messages = read(folder)
    for message in messages[-count:]:
        body = message.get_body(("plain", "html"))
        print(f"{'-' * 80}\nTo: {message['X-Envelope-To']}\nDate: {message['Date']}\nSubject: {message['Subject']}\n")
        print(body.get_content().rstrip() if body else "(no text)")
    print(f"{'-' * 80}\n{len(messages)} e-mails in {folder}", flush=True)


async def serve(port: int, folder: Path, keep: int, host: str = "127.0.0.1") -> None:
    """Accept messages on `host` until SIGTERM."""
    os.umask(0o077)
    folder.mkdir(parents=True, exist_ok=True)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    keeper = Keeper(folder, keep)
    server = await loop.create_server(
        lambda: SMTP(keeper, hostname="localhost", data_size_limit=LARGEST_BYTES, timeout=30), host, port
    )
    async with server:
        await stopped.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["show"]:
        show(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:5]))
