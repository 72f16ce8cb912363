"""What the gateway itself says in JSON and XML, declared like any endpoint; its pages are in `pages`."""

from __future__ import annotations

from typing import Any

from common.api import Api
from common.permissions import PUBLIC
from gateway.health import SuiteHealth
from gateway.schemas import SuiteHealthOut

api = Api("gateway")


@api.get("/gateway/health", permission=PUBLIC, returns=SuiteHealthOut, proxied=False)
def suite_health(health: SuiteHealth) -> dict[str, Any]:
    """Every service with its state, dependencies and queues; 200 only when all are ready, else 503 with the same."""
    return health.check()
