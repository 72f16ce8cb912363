"""What waits in a service, measured every few seconds by its worker: its outbox, and the queues it listens to.

A measurement that fails leaves the gauges as they were and `heartguard_measured_timestamp_seconds` behind; of the
status page it disappears.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pika
import redis
import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from common import backlog
from common.cache import RedisError
from common.database import ALL_ORGANIZATIONS, Database
from common.messaging import RETRY_DELAYS_S, BrokerError, dead_letter_queue, parameters, retry_queue
from common.observability import (
    DEAD_LETTERS,
    MEASURED,
    OUTBOX_AGE,
    OUTBOX_MESSAGES,
    QUEUE_AGE,
    QUEUE_MESSAGES,
    RETRY_MESSAGES,
)

log = structlog.get_logger()

EVERY_S = 5.0
_MOST_COUNTED = 100_000
# Postponed rows count as well: they are not said either. Ids ascend with time.
_OUTBOX = text(
    "SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT :most) AS counted),"
    " coalesce((SELECT extract(epoch FROM now() - created_at) FROM outbox ORDER BY id LIMIT 1), 0)"
)


class QueueAge:
    """An upper bound of the age of a queue's oldest message, from what its consumer takes and from its depth.

    The broker does not tell the age, and looking at a message would count as a delivery.
    """

    def __init__(self, queue: str) -> None:
        self._in_hand: float | None = None
        self._taken = self._empty = time.time()
        self._waiting = False
        QUEUE_AGE.labels(queue).set_function(self.seconds)

    def handling(self, recorded: datetime) -> None:
        """The consumer works on a message that was recorded then."""
        self._in_hand = recorded.timestamp()
        self._taken = max(self._taken, self._in_hand)

    def handled(self) -> None:
        """The consumer has acknowledged what it had in hand."""
        self._in_hand = None

    def seen(self, ready: int) -> None:
        """The broker says how many messages no consumer has taken yet."""
        self._waiting = ready > 0
        if not self._waiting:
            self._empty = time.time()

    def seconds(self) -> float:
        """Seconds since the oldest message was recorded, at most; 0 when none waits."""
        since = self._in_hand
        if since is None:
            if not self._waiting:
                return 0.0
            since = max(self._taken, self._empty)
        return max(0.0, time.time() - since)


class Measurer:
    """Measures one service's outbox and queues until told to stop."""

    def __init__(
        self,
        url: str,
        database: Database,
        client: redis.Redis,
        ages: Mapping[str, QueueAge],
        stopping: threading.Event,
    ) -> None:
        self._url, self._database, self._redis = url, database, client
        self._ages, self._stopping = ages, stopping
        self._connection: pika.BlockingConnection | None = None

    def run(self) -> None:
        """Measure until told to stop; what is away is measured when it is back."""
        while not self._stopping.is_set():
            try:
                outbox = measure_outbox(self._database)
                queues = self._measure_queues() if self._ages else []
                backlog.write(self._redis, self._database.service, queues, outbox)
            except (SQLAlchemyError, BrokerError, RedisError, OSError) as error:
                log.warning("measuring.postponed", reason=type(error).__name__)
            self._stopping.wait(EVERY_S)
        self._disconnect()

    def _measure_queues(self) -> list[dict[str, Any]]:
        try:
            return self._ask_broker()
        except BaseException:
            self._disconnect()  # whatever broke: the next measurement begins anew
            raise

    def _ask_broker(self) -> list[dict[str, Any]]:
        found = []
        if self._connection is None:
            self._connection = pika.BlockingConnection(parameters(self._url))
        channel = self._connection.channel()

        def depth(names: Iterable[str]) -> int:
            return sum(channel.queue_declare(name, passive=True).method.message_count for name in names)

        for queue, age in self._ages.items():
            ready = depth([queue])
            age.seen(ready)
            retrying = depth(retry_queue(queue, delay) for delay in RETRY_DELAYS_S)
            dead = depth([dead_letter_queue(queue)])
            QUEUE_MESSAGES.labels(queue).set(ready)
            RETRY_MESSAGES.labels(queue).set(retrying)
            DEAD_LETTERS.labels(queue).set(dead)
            oldest_s = round(age.seconds(), 1)
            found.append({"name": queue, "waiting": ready, "oldest_s": oldest_s, "retrying": retrying, "dead": dead})
        channel.close()
        MEASURED.labels("queues").set_to_current_time()
        return found

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.is_open:
            with contextlib.suppress(BrokerError):
                connection.close()


def measure_outbox(database: Database) -> dict[str, Any]:
    """Set and return the depth (100,000 at most) and the age of the outbox.

    Raises SQLAlchemyError when the database is away.
    """
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        waiting, age = session.execute(_OUTBOX, {"most": _MOST_COUNTED}).one()
    OUTBOX_MESSAGES.labels(database.service).set(waiting)
    OUTBOX_AGE.labels(database.service).set(float(age))
    MEASURED.labels("outbox").set_to_current_time()
    return {"waiting": waiting, "oldest_s": round(float(age), 1)}
