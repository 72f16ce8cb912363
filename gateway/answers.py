"""What a service answered: checked line by line, bounded, and never half."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache, partial
from typing import IO

from common.errors import BadUpstream

CHUNK = 64 * 1024
_MEMORY_LIMIT = 1024 * 1024

# RFC 9110, 7.6.1, with what older clients and servers send.
HOP_BY_HOP = "connection|keep-alive|proxy.*|te|trailers?|transfer-encoding|upgrade|http2-settings"
# What the gateway says itself; CORS and limits are the gateway's alone.
_NOT_PASSED_BACK = re.compile(
    f"{HOP_BY_HOP}|content-length|date|server|x-request-id|x-deadline|access-control-.*|ratelimit.*"
)
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e]*?)[ \t]*\r?\n")
BLANK = (b"\r\n", b"\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")


Headers = list[tuple[str, str]]


class Chunks(Iterator[bytes]):
    """The pieces of a large answer. An iterator and not a generator: `close` must act even when nothing was read."""

    def __init__(self, read: Callable[[], bytes], close: Callable[[], None]) -> None:
        self._read, self._close, self._open = read, close, True

    def __next__(self) -> bytes:
        chunk = self._read()
        if not chunk:
            self.close()
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Give up what the answer holds; repeating it does no harm."""
        if self._open:
            self._open = False
            self._close()


@dataclass(slots=True)
class Answer:
    """A service's answer; `length` is None where no body may follow (HEAD carries the service's own)."""

    status: int
    headers: Headers
    body: bytes | Chunks
    length: int | None


class _Kind(Enum):
    """What becomes of a service's header."""

    PASSED_BACK = auto()
    LENGTH = auto()
    CONNECTION = auto()
    KEPT = auto()


@lru_cache(maxsize=1024)
def _parse_header(line: bytes) -> tuple[_Kind, str, str]:
    """Kind, name and value; raises BadUpstream for what is no header (it must not reach a client)."""
    match = _HEADER_LINE.fullmatch(line)
    if match is None:
        raise BadUpstream
    name, value = match[1].decode("ascii"), match[2].decode("ascii")
    lower = name.lower()
    if lower == "content-length":
        return _Kind.LENGTH, name, value
    if lower == "connection":
        return _Kind.CONNECTION, name, value
    return (_Kind.KEPT if _NOT_PASSED_BACK.fullmatch(lower) else _Kind.PASSED_BACK), name, value


@lru_cache(maxsize=64)
def _status_of(line: bytes) -> int:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadUpstream
    return int(match[1])


class Received:
    """What libcurl hands over: header lines, and the body in memory or, when it is large, in a temporary file."""

    def __init__(self, disk_limit: int) -> None:
        self._disk_limit = disk_limit
        self.lines: list[bytes] = []  # libcurl appends to it; it bounds a head to some hundred kilobytes by itself
        self.chunks: list[bytes] = []
        self.size = 0
        self.file: IO[bytes] | None = None

    def reset(self) -> None:
        """Forget what came; a file that nobody took is closed."""
        self.lines.clear()
        self.chunks = []
        self.size = 0
        if self.file is not None:
            self.file.close()
            self.file = None

    def write(self, chunk: bytes) -> int | None:
        self.size += len(chunk)
        if self.size <= _MEMORY_LIMIT:
            self.chunks.append(chunk)
            return None
        if self.size > self._disk_limit:
            return 0
        if self.file is None:
            self.file = tempfile.TemporaryFile()  # noqa: SIM115 (`_read_file` closes it)
            self.file.writelines(self.chunks)
            self.chunks.clear()
        self.file.write(chunk)
        return None

    def head(self) -> tuple[int, Headers, int | None]:
        """Status, headers to pass back and declared length; raises BadUpstream for garbage."""
        lines = iter(self.lines)
        status = _status_of(next(lines, b""))
        headers: Headers = []
        declared: int | None = None
        nominated = ""
        for line in lines:
            if line in BLANK:
                if status >= 200:
                    break
                status = _status_of(next(lines, b""))  # that was an interim answer (100, 103)
                headers.clear()
                continue
            kind, name, value = _parse_header(line)
            if kind is _Kind.PASSED_BACK:
                headers.append((name, value))
            elif kind is _Kind.LENGTH:
                declared = int(value) if value.isdigit() else None
            elif kind is _Kind.CONNECTION and value.lower() not in ("close", "keep-alive"):
                nominated += f",{value.lower()}"
        else:
            raise BadUpstream  # libcurl takes a head that breaks off for a whole one
        if nominated:
            names = {name.strip() for name in nominated.split(",")}
            headers = [entry for entry in headers if entry[0].lower() not in names]
        return status, headers, declared

    def answer(self, method: str) -> Answer:
        """The whole answer, once the transfer has ended."""
        status, headers, declared = self.head()
        if method == "HEAD":
            return Answer(status, headers, b"", declared)
        if status in (204, 304):
            return Answer(status, headers, b"", None)
        if self.file is not None:
            file, self.file = self.file, None
            file.seek(0)
            return Answer(status, headers, Chunks(partial(file.read, CHUNK), file.close), self.size)
        body = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        return Answer(status, headers, body, self.size)
