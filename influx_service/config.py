"""Settings of the time-series service."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from common.config import ServiceSettings, setting


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Which engine keeps the samples: InfluxDB 2 where `INFLUXDB_URL` is set, else a local file.

    `INFLUX_URL` is taken: as `<SERVICE>_URL` it says where the other services find this one.
    """

    influxdb_url: str | None = setting("INFLUXDB_URL", None)
    influxdb_token: str | None = setting("INFLUXDB_TOKEN", None)
    influxdb_org: str = setting("INFLUXDB_ORG", "heartguard")
    timeseries_path: str = setting(
        "TIMESERIES_PATH", str(Path(os.environ.get("HEARTGUARD_STATE", "/var/lib/heartguard")) / "timeseries/series.db")
    )
