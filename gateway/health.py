"""Whether the whole suite is ready: every service is asked at once, and the answer is believed for a second."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from common.config import SERVICES
from common.errors import ApiError
from gateway.upstream import Upstreams

_TIMEOUT_S = 1.0
_BELIEVED_S = 1.0


class SuiteHealth:
    """The state and latency of each service."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._pool = ThreadPoolExecutor(len(SERVICES), thread_name_prefix="health")
        self._lock = threading.Lock()
        self._known: list[dict[str, Any]] = []
        self._until = 0.0

    def check(self) -> list[dict[str, Any]]:
        """`name`, `state` (up, degraded, down) and `latency_ms` of every service."""
        with self._lock:  # whoever waits here shares the answer
            if self._until <= time.monotonic():
                self._known = list(self._pool.map(self._ask, SERVICES))
                self._until = time.monotonic() + _BELIEVED_S
            return self._known

    def _ask(self, service: str) -> dict[str, Any]:
        started = time.perf_counter()
        try:
            status = self._upstreams.get(service, "/ready", ["Accept: application/json"], _TIMEOUT_S).status
            state = {200: "up", 503: "degraded"}.get(status, "down")
        except ApiError:
            state = "down"
        return {"name": service, "state": state, "latency_ms": round((time.perf_counter() - started) * 1000, 2)}
