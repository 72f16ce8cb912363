"""What waits in a service, for the status page: written to Redis by its worker, read by the gateway.

Only counts and seconds. The key expires, so that a worker that is gone does not go on saying that all is well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import redis

_KEPT_S = 30
UNKNOWN: dict[str, Any] = {"queues": [], "outbox": None}


def write(client: redis.Redis, service: str, queues: list[dict[str, Any]], outbox: dict[str, Any]) -> None:
    """Keep what was measured for half a minute. Raises RedisError."""
    client.set(_key(service), msgspec.json.encode({"queues": queues, "outbox": outbox}), ex=_KEPT_S)


def read(client: redis.Redis, services: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`queues` and `outbox` of each service whose worker wrote lately. Raises RedisError."""
    names = list(services)
    values: Any = client.mget([_key(name) for name in names])
    return {name: msgspec.json.decode(value) for name, value in zip(names, values, strict=True) if value is not None}


def _key(service: str) -> str:
    return f"backlog:{service}"
