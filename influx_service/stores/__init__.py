"""Time-series engines behind one interface; tests/influx_service/stores is the contract that each one keeps.

Every call names the organisation. Times are int nanoseconds since 1970 UTC; windows are [start, stop).
"""

from typing import Protocol

from .embedded import EmbeddedStore
from .influxdb import InfluxStore
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
    "InfluxStore",
    "InvalidData",
    "Point",
    "QueryTooLarge",
    "Row",
    "Segment",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "open_store",
]


Store = EmbeddedStore | InfluxStore


class StoreSettings(Protocol):
    """What `open_store` reads."""

    @property
    def influxdb_url(self) -> str | None: ...
    @property
    def influxdb_token(self) -> str | None: ...
    @property
    def influxdb_org(self) -> str: ...
    @property
    def timeseries_path(self) -> str: ...


def open_store(settings: StoreSettings) -> Store:
    """Open the engine that the settings name; raises StoreError when it cannot serve them."""
    if not settings.influxdb_url:
        return EmbeddedStore(settings.timeseries_path)
    if not settings.influxdb_token:
        raise StoreError("INFLUXDB_URL is set without INFLUXDB_TOKEN: set the token of an InfluxDB user.")
    return InfluxStore(settings.influxdb_url, settings.influxdb_token, settings.influxdb_org)
