"""The log line of a proxied request, in the shape that structlog gives the others.

Written past structlog: its chain costs a tenth of what the whole request does.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

import msgspec
from prometheus_client import Counter

_STDOUT = 1
_LOST = Counter("heartguard_gateway_log_lines_lost_total", "Request lines that could not be written")


class _Line(msgspec.Struct):
    request_id: str
    user_id: str | None
    method: str
    path: str
    status: int
    latency_ms: float
    timestamp: datetime
    service: str = "gateway"
    event: str = "request"
    level: str = "info"


_encoder = msgspec.json.Encoder()


def write_line(request_id: str, user_id: str | None, method: str, path: str, status: int, latency_ms: float) -> None:
    """One line in one write, so that lines of several threads and workers never mix."""
    line = _Line(request_id, user_id, method, path, status, latency_ms, datetime.now(UTC))
    try:
        os.write(_STDOUT, _encoder.encode(line) + b"\n")
    except OSError:  # a full disk must not stop an alarm
        _LOST.inc()
