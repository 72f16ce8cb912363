"""Signed heads of the chain, kept outside the database: without them a cut-off or rewritten end could not be seen."""

from __future__ import annotations

import hashlib
import hmac
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from common.tokens import Key, parse_keys

_MAX_LINE_BYTES = 1024


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The chain's last row at a moment. `hash` and `signature` (HMAC-SHA256) are hexadecimal."""

    sequence: int
    hash: str
    signed_at: datetime
    kid: str
    signature: str = ""


class ForgedHeadError(Exception):
    """The newest head in the folder is not one that we signed."""


class SignedHeads:
    """Appends heads to one file a month, `heads-YYYY-MM.jsonl`, and reads the newest back.

    Operators ship the folder to another machine: whoever holds database and folder could cut both at the same place.
    """

    def __init__(self, folder: Path, signing_keys: list[str]) -> None:
        keys = parse_keys(signing_keys, "HS256")
        self._folder, self._signer = folder, keys[0]
        self._keys = {key.kid: key for key in keys}

    def sign(self, sequence: int, row_hash: bytes) -> Head:
        """Sign and append one head; raises OSError when the folder cannot be written."""
        now = datetime.now(UTC)
        head = Head(sequence=sequence, hash=row_hash.hex(), signed_at=now, kid=self._signer.kid)
        head = msgspec.structs.replace(head, signature=_signature(self._signer, head))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._folder / f"heads-{now:%Y-%m}.jsonl", "ab+", opener=_private) as file:
            if _ends_with_half_a_line(file):
                file.write(b"\n")
            file.write(msgspec.json.encode(head) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return head

    def newest(self) -> Head | None:
        """The newest head, None before the first; raises ForgedHeadError when it is unreadable or not signed by us."""
        files = sorted(self._folder.glob("heads-*.jsonl"), reverse=True)
        line = next(filter(None, map(_last_line, files)), None)
        if line is None:
            return None
        try:
            head = msgspec.json.decode(line, type=Head)
        except msgspec.MsgspecError as error:
            raise ForgedHeadError from error
        key = self._keys.get(head.kid)
        if key is None or not hmac.compare_digest(_signature(key, head), head.signature):
            raise ForgedHeadError
        return head


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _ends_with_half_a_line(file: BinaryIO) -> bool:
    """A crash may have left half a line: the next must not grow onto it."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def _signature(key: Key, head: Head) -> str:
    unsigned = msgspec.json.encode(msgspec.structs.replace(head, signature=""))
    return hmac.new(key.secret, unsigned, hashlib.sha256).hexdigest()


def _last_line(path: Path) -> bytes:
    """The last complete line, empty when there is none."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 2 * _MAX_LINE_BYTES))
        complete, _, _half = file.read().rpartition(b"\n")
    return complete.rpartition(b"\n")[2]
