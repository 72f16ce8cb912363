"""Consuming from one queue: inbox, retries, dead letters. An effect happens once, whatever crashes in between."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pika
import structlog
from pika.adapters.blocking_connection import BlockingChannel
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from common.auth import service_caller
from common.database import ALL_ORGANIZATIONS, Database, is_outage
from common.errors import Unavailable
from common.events import Event, decode_envelope
from common.failpoints import failpoint
from common.measuring import QueueAge
from common.messaging import (
    RETRY_DELAYS_S,
    BrokerError,
    Consumer,
    bindings_of,
    dead_letter_queue,
    declare_topology,
    parameters,
    retry_queue,
)
from common.observability import MESSAGE_AGE, MESSAGES
from common.tables import processed_messages

log = structlog.get_logger()

PREFETCH = 50
ATTEMPT, REASON = "x-heartguard-attempt", "x-heartguard-reason"
_MAX_PAUSE_S = 5.0


class QueueConsumer:
    """Runs the handlers of one queue on a connection of its own: one message after the other, or what waits at once."""

    def __init__(
        self,
        url: str,
        database: Database,
        queue: str,
        consumers: Sequence[Consumer],
        resources: dict[str, Any],
        stopping: threading.Event,
    ) -> None:
        self._url, self._database, self._queue = url, database, queue
        self._consumers = consumers
        self._calls = {item.type: _bind(item, resources) for item in consumers}
        self._batch = consumers[0] if consumers[0].batch else None
        if self._batch is not None and len(consumers) > 1:
            raise TypeError(f"{queue}: a batch consumer has its queue to itself")
        self._resources = resources
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {
            item.type: msgspec.json.Decoder(item.payload) for item in consumers
        }
        self._stopping = stopping
        self.age = QueueAge(queue)

    def run(self) -> None:
        """Consume until told to stop; a lost broker is waited for."""
        pause = 0.2
        while not self._stopping.is_set():
            try:
                self._consume()
                pause = 0.2
            except (BrokerError, OSError) as error:
                log.warning("consumer.broker_away", queue=self._queue, reason=type(error).__name__)
                self._stopping.wait(pause)
                pause = min(pause * 2, _MAX_PAUSE_S)

    def _consume(self) -> None:
        connection = pika.BlockingConnection(parameters(self._url))
        try:
            channel = connection.channel()
            declare_topology(channel, bindings_of(self._consumers))
            channel.confirm_delivery()
            channel.basic_qos(prefetch_count=PREFETCH)
            waiting: list[tuple[Any, bytes]] = []
            for method, properties, body in channel.consume(self._queue, inactivity_timeout=0.5):
                if self._stopping.is_set():
                    break
                if method is None:
                    continue
                waiting.append((properties, body))
                if self._batch and len(waiting) < PREFETCH and channel.get_waiting_message_count():
                    continue
                self._handle_all(connection, channel, waiting)
                failpoint("consumer.between_commit_and_ack")
                channel.basic_ack(method.delivery_tag, multiple=True)
                self.age.handled()
                waiting = []
        finally:
            self.age.handled()
            if connection.is_open:
                connection.close()

    def _handle_all(
        self, connection: pika.BlockingConnection, channel: BlockingChannel, messages: Sequence[tuple[Any, bytes]]
    ) -> None:
        """Process together where that is possible, else one by one: a bad message must not hold up the others."""
        if len(messages) > 1:
            try:
                fresh = self.apply_all([body for _, body in messages])
                MESSAGES.labels(self._queue, "processed").inc(fresh)
                MESSAGES.labels(self._queue, "duplicate").inc(len(messages) - fresh)
                return
            except Exception as error:  # whatever it is, it comes again below, from the message that is to blame
                log.warning("consumer.batch_split", queue=self._queue, reason=type(error).__name__)
        for properties, body in messages:
            self._handle(connection, channel, properties, body)

    def _handle(
        self, connection: pika.BlockingConnection, channel: BlockingChannel, properties: Any, body: bytes
    ) -> None:
        """Process, or put away for later or for ever; returns only when the message may be acknowledged."""
        if properties.type is not None and properties.type not in self._calls:
            return  # a fanout brings other services' types too
        headers = properties.headers or {}
        while True:
            try:
                fresh = self.apply(body, str(headers.get("traceparent", "")))
                MESSAGES.labels(self._queue, "processed" if fresh else "duplicate").inc()
                return
            except msgspec.MsgspecError:
                self._put_away(channel, properties, body, dead_letter_queue(self._queue), "invalid")
                return
            except (DBAPIError, PoolTimeout, Unavailable) as error:
                if isinstance(error, DBAPIError) and not is_outage(error):
                    self._retry(channel, properties, body, error)
                    return
                # Nothing is wrong with the message: hold it, unacknowledged and uncounted, until what it needs is back.
                log.warning("consumer.waits", queue=self._queue, reason=type(error).__name__)
                connection.sleep(1.0)
                if self._stopping.is_set():
                    raise OSError("stopping") from error
            except Exception as error:
                log.exception("consumer.failed", queue=self._queue, type=properties.type)
                self._retry(channel, properties, body, error)
                return

    def apply(self, body: bytes, traceparent: str = "") -> bool:
        """One message's effect, in one transaction with its inbox row; False when it had its effect before.

        Raises msgspec.MsgspecError for a body that is not what its type promises.
        """
        envelope = decode_envelope(body)
        if envelope.type not in self._calls:
            return False
        event = self._decoders[envelope.type].decode(envelope.data)
        self.age.handling(envelope.time)
        structlog.contextvars.bind_contextvars(request_id=envelope.requestid)
        caller = service_caller(self._database.service, envelope.orgid, envelope.requestid, traceparent)
        with self._database.transaction(envelope.orgid) as session:
            claim = insert(processed_messages).values(consumer=self._queue, message_id=envelope.id)
            if not session.connection().execute(claim.on_conflict_do_nothing()).rowcount:
                return False
            self._calls[envelope.type](session, caller, event)
            session.flush()
            failpoint("consumer.before_commit")
        self._observe_ages([envelope.time])
        return True

    def apply_all(self, bodies: Sequence[bytes]) -> int:
        """The effects of several messages in one transaction with their inbox rows; returns how many were new.

        Raises msgspec.MsgspecError when one body is not what its type promises.
        """
        assert self._batch is not None
        events: dict[UUID, Event] = {}
        recorded: dict[UUID, datetime] = {}
        for body in bodies:
            envelope = decode_envelope(body)
            if envelope.type in self._calls:
                events[envelope.id] = self._decoders[envelope.type].decode(envelope.data)
                recorded[envelope.id] = envelope.time
        if not events:
            return 0
        self.age.handling(min(recorded.values()))
        claim = insert(processed_messages).on_conflict_do_nothing().returning(processed_messages.c.message_id)
        rows = [{"consumer": self._queue, "message_id": message_id} for message_id in events]
        with self._database.transaction(ALL_ORGANIZATIONS) as session:
            fresh = set(session.connection().execute(claim, rows).scalars())
            if fresh:
                new = [event for message_id, event in events.items() if message_id in fresh]
                self._batch.handler(session, new, **_wanted(self._batch, self._resources))
            session.flush()
            failpoint("consumer.before_commit")
        self._observe_ages(recorded[message_id] for message_id in fresh)
        return len(fresh)

    def _observe_ages(self, recorded: Iterable[datetime]) -> None:
        now = datetime.now(UTC)
        for at in recorded:
            MESSAGE_AGE.labels(self._queue).observe(max(0.0, (now - at).total_seconds()))

    def _retry(self, channel: BlockingChannel, properties: Any, body: bytes, error: Exception) -> None:
        attempt = int((properties.headers or {}).get(ATTEMPT, 0))
        reason = type(error).__name__
        if attempt < len(RETRY_DELAYS_S):
            target = retry_queue(self._queue, RETRY_DELAYS_S[attempt])
            self._put_away(channel, properties, body, target, reason, attempt + 1)
        else:
            self._put_away(channel, properties, body, dead_letter_queue(self._queue), reason, attempt)

    def _put_away(
        self, channel: BlockingChannel, properties: Any, body: bytes, target: str, reason: str, attempt: int = 0
    ) -> None:
        dead = target.endswith(".dead-letter")
        MESSAGES.labels(self._queue, "dead" if dead else "retried").inc()
        log.warning(
            "consumer.dead_letter" if dead else "consumer.retries", queue=self._queue, reason=reason, attempt=attempt
        )
        properties.headers = {**(properties.headers or {}), ATTEMPT: attempt, REASON: reason}
        channel.basic_publish("", target, body, properties, mandatory=True)


def _bind(item: Consumer, resources: dict[str, Any]) -> Callable[..., None]:
    chosen = _wanted(item, resources)
    if item.batch:
        return lambda session, caller, event: item.handler(session, [event], **chosen)
    return lambda session, caller, event: item.handler(session, caller, event, **chosen)


def _wanted(item: Consumer, resources: dict[str, Any]) -> dict[str, Any]:
    return {name: resources[name] for name in inspect.signature(item.handler).parameters if name in resources}


def forget_processed(database: Database, days: int = 7) -> int:
    """Delete inbox rows older than `days`; redelivery after that is not possible any more. Returns 0: done."""
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.execute(
            text("DELETE FROM processed_messages WHERE processed_at < now() - make_interval(days => :days)"),
            {"days": days},
        )
    return 0
