"""Bodies of requests: how long they may be, read whole or while they arrive."""

from __future__ import annotations

import re
from typing import Any

from pycurl import READFUNC_ABORT

from common.errors import PayloadTooLarge, UnparsableBody

_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_LENGTH = re.compile(r"[0-9]{1,12}", re.ASCII)


def whole_body(source: Any, length: int) -> bytes:
    """All bytes of a request's body; raises UnparsableBody when the client goes away while sending."""
    body: bytes = source.read(length)
    if len(body) != length:
        raise UnparsableBody
    return body


class ArrivingBody:
    """A request's body of declared length that libcurl reads while it arrives."""

    def __init__(self, source: Any, length: int) -> None:
        self._source, self._left = source, length

    def read(self, size: int) -> bytes | int:
        """The next bytes; libcurl's sign to abort when the client went away before the declared length."""
        if not self._left:
            return b""
        wanted = min(size, self._left)
        chunk: bytes = self._source.read(wanted)
        self._left -= len(chunk)
        return chunk if len(chunk) == wanted else int(READFUNC_ABORT)


def declared_length(environ: dict[str, Any], method: str, most: int) -> int:
    """Bytes of the request's body. Raises PayloadTooLarge for too many or an undeclared number.

    A chunked body is refused on every route: granian ends one that the client broke off like one that is whole.
    """
    if "HTTP_TRANSFER_ENCODING" in environ:
        raise PayloadTooLarge
    declared = environ.get("CONTENT_LENGTH") or "0"
    if not _LENGTH.fullmatch(declared):
        raise UnparsableBody
    length = int(declared)
    if length > most:
        raise PayloadTooLarge
    if length and method not in _WITH_BODY:
        raise UnparsableBody
    return length
