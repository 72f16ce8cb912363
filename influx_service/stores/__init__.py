"""Time-series engines behind one interface; tests/influx_service/stores is the contract that each one keeps.

Every call names the organisation. Times are int nanoseconds since 1970 UTC; windows are [start, stop).
"""

from typing import Protocol

from .embedded import EmbeddedStore
from .points import (
    SECOND,
    Aggregate,
    Bucket,
    BucketNotFound,
    FieldTypeConflict,
    InvalidData,
    Point,
    QueryTooLarge,
    Row,
    Segment,
    StoreError,
    StoreUnavailable,
)

__all__ = [
    "SECOND",
    "Aggregate",
    "Bucket",
    "BucketNotFound",
    "EmbeddedStore",
    "FieldTypeConflict",
    "InvalidData",
    "Point",
    "QueryTooLarge",
    "Row",
    "Segment",
    "StoreError",
    "StoreUnavailable",
    "open_store",
]


class StoreSettings(Protocol):
    """What `open_store` reads."""

    influxdb_url: str | None
    timeseries_path: str


def open_store(settings: StoreSettings) -> EmbeddedStore:
    """Open the engine that the settings name; raises StoreError when it cannot serve them."""
    if settings.influxdb_url:
        raise StoreError(
            "INFLUXDB_URL is set, but the InfluxDB 2 engine comes only with the deployment issue:"
            " unset INFLUXDB_URL to use the embedded engine."
        )
    return EmbeddedStore(settings.timeseries_path)
