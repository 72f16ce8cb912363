"""What the time-series service uses besides its database: the engine."""

from __future__ import annotations

from typing import Any

from influx_service.config import Settings
from influx_service.stores import StoreUnavailable, open_store


def open_resources(settings: Settings) -> dict[str, Any]:
    """The time-series engine and its readiness check."""
    store = open_store(settings)

    def check() -> None:
        if not store.ping():
            raise StoreUnavailable("the engine does not answer")

    return {"store": store, "checks": {"timeseries": check}}
