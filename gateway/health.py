"""How the whole suite is: every service is asked at once, and the answer is believed for a second."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import redis
import structlog

from common import backlog
from common.cache import RedisError
from common.config import SERVICES
from common.errors import ApiError
from gateway.upstream import Upstreams

log = structlog.get_logger(service="gateway")

_TIMEOUT_S = 1.0
_BELIEVED_S = 1.0


class _Dependency(msgspec.Struct):
    state: str
    latency_ms: float


class _Readiness(msgspec.Struct):
    dependencies: dict[str, _Dependency]


class _Ready(msgspec.Struct):
    data: _Readiness


_decoder = msgspec.json.Decoder(_Ready)


class SuiteHealth:
    """The state of each service, of what it needs, and of its queues."""

    def __init__(self, upstreams: Upstreams, client: redis.Redis) -> None:
        self._upstreams, self._redis = upstreams, client
        self._pool = ThreadPoolExecutor(len(SERVICES), thread_name_prefix="health")
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {}
        self._until = 0.0

    def check(self) -> dict[str, Any]:
        """What `SuiteHealthOut` says, the gateway first."""
        with self._lock:  # whoever waits here shares the answer
            if self._until <= time.monotonic():
                self._known = self._ask_all()
                self._until = time.monotonic() + _BELIEVED_S
            return self._known

    def _ask_all(self) -> dict[str, Any]:
        asked = self._pool.map(self._ask, SERVICES)
        own, backlogs = self._own()
        services = [own, *(service | backlogs.get(service["name"], backlog.UNKNOWN) for service in asked)]
        up = all(service["state"] == "up" for service in services)
        return {"state": "up" if up else "degraded", "services": services}

    def _ask(self, service: str) -> dict[str, Any]:
        started = time.perf_counter()
        dependencies: dict[str, _Dependency] = {}
        try:
            answer = self._upstreams.get(service, "/ready", ["Accept: application/json"], _TIMEOUT_S)
            state = {200: "up", 503: "degraded"}.get(answer.status, "down")
            if state != "down" and isinstance(answer.body, bytes):
                dependencies = _decoder.decode(answer.body).data.dependencies
        except (ApiError, msgspec.MsgspecError):
            state = "down"
        return {
            "name": service,
            "state": state,
            "latency_ms": _since(started),
            "dependencies": [
                {"name": name, "state": item.state, "latency_ms": item.latency_ms}
                for name, item in sorted(dependencies.items())
            ],
        }

    def _own(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """The gateway itself, which needs Redis, and what the workers wrote there."""
        started = time.perf_counter()
        backlogs: dict[str, dict[str, Any]] = {}
        try:
            backlogs = backlog.read(self._redis, SERVICES)
            state = "up"
        except RedisError as error:
            log.warning("health.redis_away", reason=type(error).__name__)
            state = "down"
        latency_ms = _since(started)
        own = {
            "name": "gateway",
            "state": "up" if state == "up" else "degraded",
            "latency_ms": latency_ms,
            "dependencies": [{"name": "redis", "state": state, "latency_ms": latency_ms}],
        }
        return own | backlog.UNKNOWN, backlogs


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 2)
