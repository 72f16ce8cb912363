"""Reading samples from the time-series service; over the network, so never inside a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from common.auth import Caller
from common.http import InternalClient
from common.permissions import Permission

AHEAD = timedelta(minutes=15)  # more than the time-series service lets a device's clock run ahead


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples without a gap; the i-th was taken at `started_at` + i / `rate_hz`."""

    started_at: datetime
    rate_hz: float
    values: list[float]

    @property
    def ended_at(self) -> datetime:
        """The moment just after the last sample."""
        return self.started_at + timedelta(seconds=len(self.values) / self.rate_hz)


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of a vital sign."""

    at: datetime
    value: float


def read_waveform(
    client: InternalClient, caller: Caller, stream_id: UUID, start: datetime, stop: datetime
) -> list[Stretch]:
    """The samples of a stream in [start, stop), by time. Raises NotFound, Unavailable, UpstreamTimeout."""
    answer = _query(client, caller, stream_id, start, stop, form="samples")
    return [
        Stretch(datetime.fromisoformat(item["started_at"]), item["sample_rate_hz"], item["values"])
        for item in answer["segments"]
    ]


def read_values(
    client: InternalClient,
    caller: Caller,
    stream_id: UUID,
    start: datetime,
    stop: datetime,
    limit: int,
    every_s: float | None = None,
) -> list[Reading]:
    """At most `limit` readings of a stream in [start, stop), by time; `every_s`: the last of each such interval.

    Raises NotFound, Unavailable, UpstreamTimeout.
    """
    thinned = {} if every_s is None else {"aggregate": "last", "every_s": f"{every_s:g}"}
    answer = _query(client, caller, stream_id, start, stop, form="rows", limit=str(limit), **thinned)
    return [Reading(datetime.fromisoformat(row["time"]), row["value"]) for row in answer["rows"]]


def _query(
    client: InternalClient, caller: Caller, stream_id: UUID, start: datetime, stop: datetime, **options: str
) -> Any:
    query = {"stream_id": str(stream_id), "start": start.isoformat(), "stop": stop.isoformat(), **options}
    return client.get(caller, "influx", "/timeseries/query", query, permissions=[Permission.TIMESERIES_READ])
