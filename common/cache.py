"""The Redis client: short timeouts and no retries, because what Redis holds here is always a copy."""

from __future__ import annotations

import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_S = 0.2
PAUSE_S = 1.0

RedisError = redis.RedisError


def connect(url: str) -> redis.Redis:
    """A client whose every call ends within 0.2 s; redis-py's defaults held a request for seconds (RULES)."""
    return redis.Redis.from_url(
        url,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        max_connections=64,
    )


class Pause:
    """Remembers for a while that somebody did not answer, so that not everything pays the timeout."""

    def __init__(self, seconds: float = PAUSE_S) -> None:
        self._seconds = seconds
        self._until = 0.0
        self.away = False

    def active(self) -> bool:
        """True while they should be left alone."""
        return time.monotonic() < self._until

    def begin(self) -> bool:
        """Start a pause; True when they were thought to be there until now."""
        self._until = time.monotonic() + self._seconds
        first, self.away = not self.away, True
        return first

    def end(self) -> bool:
        """They answered; True when they had been away."""
        back, self.away = self.away, False
        return back
