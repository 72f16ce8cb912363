"""When a service is left alone, and how often a call to it may be repeated."""

from __future__ import annotations

import threading
import time

import structlog
from prometheus_client import Gauge

from common.errors import ApiError, Unavailable

log = structlog.get_logger(service="gateway")

_OPEN = Gauge(
    "heartguard_gateway_breaker_open", "1 while a service is left alone", ["upstream"], multiprocess_mode="max"
)


# A refused connection costs nobody anything, and a service that is being restarted is back in a second or two.
_UNREACHABLE_PAUSE_S = 1.0


class Breaker:
    """Leaves a service alone after consecutive failures, then lets one request at a time try it."""

    def __init__(self, service: str, failures: int, pause: float) -> None:
        self._service, self._limit, self._pause = service, failures, pause
        self._chosen_pause = pause
        self._failures = 0
        self._retry_at = 0.0
        self._lock = threading.Lock()
        _OPEN.labels(service).set(0)

    def enter(self) -> None:
        """Raise Unavailable while the service is left alone."""
        if self._failures < self._limit:
            return
        with self._lock:
            wait = self._retry_at - time.monotonic()
            if self._failures >= self._limit and wait > 0:
                raise Unavailable(retry_after=int(wait) + 1)
            # This request tries; the others keep waiting.
            self._retry_at = time.monotonic() + self._chosen_pause

    def succeeded(self) -> None:
        """The service answered."""
        if self._failures:
            with self._lock:
                was_open, self._failures = self._failures >= self._limit, 0
            if was_open:
                _OPEN.labels(self._service).set(0)
                log.info("breaker.closed", upstream=self._service)

    def failed(self, error: ApiError) -> None:
        """The service could not be reached (Unavailable: it is tried again soon), or did not answer properly."""
        with self._lock:
            self._failures += 1
            reached = not isinstance(error, Unavailable)
            self._chosen_pause = self._pause if reached else min(self._pause, _UNREACHABLE_PAUSE_S)
            opened = self._failures == self._limit
            if self._failures >= self._limit:
                self._retry_at = time.monotonic() + self._chosen_pause
        if opened:
            _OPEN.labels(self._service).set(1)
            log.warning("breaker.open", upstream=self._service)


class RetryBudget:
    """A tenth of the calls may be repeated, so that retries never double the load of a struggling service."""

    def __init__(self, share: float = 0.1, most: float = 10.0) -> None:
        self._share, self._most, self._saved = share, most, most
        self._lock = threading.Lock()

    def earn(self) -> None:
        """A call was made."""
        if self._saved < self._most:
            with self._lock:
                self._saved = min(self._most, self._saved + self._share)

    def spend(self) -> bool:
        """True when one more call may be repeated."""
        with self._lock:
            if self._saved < 1:
                return False
            self._saved -= 1
            return True
