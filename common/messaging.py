"""RabbitMQ, and the only module that touches pika: topology, the confirming publisher, consumers' declarations.

Operators: `python -m common.messaging declare`, `python -m common.messaging dead-letter list|show|replay QUEUE`.
"""

from __future__ import annotations

import builtins
import functools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pika
import structlog
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

from common.events import EXCHANGES, Event

log = structlog.get_logger()

RETRY_DELAYS_S = (1, 5, 30, 300)
DELIVERY_LIMIT = 100
CONFIRM_TIMEOUT_S = 10.0
BrokerError = AMQPError


class BrokerAway(Exception):
    """The broker did not take the messages; send the same ids again."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the outbox holds it."""

    id: UUID
    exchange: str
    routing_key: str
    type: str
    body: bytes
    request_id: str = ""
    traceparent: str = ""
    mandatory: bool = True


@dataclass(frozen=True, slots=True)
class Consumer:
    """One handler: which events of which exchange, through which queue, with which payload."""

    queue: str
    exchange: str
    type: str
    routing_key: str
    payload: builtins.type[Event]
    handler: Callable[..., None]
    batch: bool = False


registry: list[Consumer] = []


def consumer(
    queue: str,
    *,
    exchange: str,
    payload: type[Event],
    type: str | None = None,
    routing_key: str | None = None,
    batch: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare `handler(session, caller, event, **resources)` for events of one type; handlers may share a queue.

    `payload` is this service's own view of the event: the fields it needs and no more. With `batch` the handler is
    `handler(session, events, **resources)` and gets all that waits, of every organisation, in one transaction.
    """

    def declare(handler: Callable[..., None]) -> Callable[..., None]:
        event_type = type or payload.type
        registry.append(Consumer(queue, exchange, event_type, routing_key or event_type, payload, handler, batch))
        return handler

    return declare


def parameters(url: str) -> pika.URLParameters:
    """Connection parameters with the suite's timeouts."""
    chosen = pika.URLParameters(url)
    chosen.heartbeat = 30
    chosen.blocked_connection_timeout = 5
    chosen.socket_timeout = 5
    chosen.stack_timeout = 10
    return chosen


# --- topology ------------------------------------------------------------------------------------------------------


def retry_queue(queue: str, delay_s: int) -> str:
    """The name of the queue in which a failed message waits `delay_s` seconds."""
    return f"{queue}.retry.{delay_s}s"


def dead_letter_queue(queue: str) -> str:
    """The name of the queue that keeps what could not be processed."""
    return f"{queue}.dead-letter"


def declare_topology(channel: BlockingChannel, consumers: Iterable[Consumer]) -> None:
    """Declare all exchanges, and the queues of `consumers` with their retry and dead-letter queues. Idempotent."""
    for exchange, kind in EXCHANGES.items():
        channel.exchange_declare(exchange, exchange_type=kind, durable=True)
    bindings = {(item.queue, item.exchange, item.routing_key) for item in consumers}
    for queue in sorted({queue for queue, _, _ in bindings}):
        _declare_quorum(channel, dead_letter_queue(queue))
        _declare_quorum(channel, queue, dead_letter_queue(queue), {"x-delivery-limit": DELIVERY_LIMIT})
        for delay in RETRY_DELAYS_S:
            _declare_quorum(channel, retry_queue(queue, delay), queue, {"x-message-ttl": delay * 1000})
    for queue, exchange, routing_key in sorted(bindings):
        channel.queue_bind(queue, exchange, routing_key)


def _declare_quorum(
    channel: BlockingChannel, name: str, dead_letter_to: str | None = None, arguments: dict[str, Any] | None = None
) -> None:
    complete: dict[str, Any] = {"x-queue-type": "quorum", **(arguments or {})}
    if dead_letter_to:
        # Through the default exchange to that exact queue, surely: never to a fanout (RULES).
        complete |= {
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead_letter_to,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
    channel.queue_declare(name, durable=True, arguments=complete)


# --- publishing ----------------------------------------------------------------------------------------------------


class Publisher:
    """Publishes batches with confirms on a connection that its own thread drives.

    pika's blocking channel waits for each confirm apart (about 1,800/s); this one waits for a batch.
    """

    def __init__(self, url: str) -> None:
        self._parameters = parameters(url)
        self._connection: pika.SelectConnection | None = None
        self._channel: Any = None
        self._pending: dict[int, UUID] = {}
        self._refused: set[UUID] = set()
        self._next_tag = 1
        self._failure: str | None = None
        self._done = threading.Event()

    def publish(self, messages: Sequence[Message]) -> set[UUID]:
        """Publish and wait until the broker has confirmed all; returns the ids it refused or could not route.

        Raises BrokerAway when the connection is lost or no confirm comes within 10 s.
        """
        self._ensure_open()
        self._done.clear()
        assert self._connection is not None
        self._connection.ioloop.add_callback_threadsafe(functools.partial(self._send, messages))
        if not self._done.wait(CONFIRM_TIMEOUT_S) or self._failure:
            reason = self._failure or "no confirm in time"
            self.close()
            raise BrokerAway(reason)
        return self._refused

    def close(self) -> None:
        """End the connection and its thread; the next publish opens another."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.ioloop.add_callback_threadsafe(functools.partial(_end, connection))

    def _ensure_open(self) -> None:
        if self._connection is not None and self._failure is None:
            return
        self.close()
        self._failure, self._next_tag, self._pending = None, 1, {}
        self._done.clear()
        try:
            connection = pika.SelectConnection(
                self._parameters,
                on_open_callback=self._opened,
                on_open_error_callback=lambda _connection, error: self._fail(error),
                on_close_callback=lambda _connection, error: self._fail(error),
            )
        except (AMQPError, OSError) as error:
            raise BrokerAway(str(error)) from error
        self._connection = connection
        threading.Thread(target=_drive, args=(connection,), name="publisher", daemon=True).start()
        if not self._done.wait(CONFIRM_TIMEOUT_S) or self._failure:
            reason = self._failure or "no connection in time"
            self.close()
            raise BrokerAway(reason)

    # Below: only on the connection's thread.

    def _opened(self, connection: pika.SelectConnection) -> None:
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(lambda _channel, error: self._fail(error))
        channel.add_on_return_callback(self._returned)
        for exchange, kind in EXCHANGES.items():
            channel.exchange_declare(exchange, exchange_type=kind, durable=True)
        channel.confirm_delivery(self._confirmed, callback=lambda _frame: self._done.set())

    def _send(self, messages: Sequence[Message]) -> None:
        self._refused = set()
        for message in messages:
            self._pending[self._next_tag] = message.id
            self._next_tag += 1
        try:
            for message in messages:
                self._channel.basic_publish(
                    message.exchange, message.routing_key, message.body, _properties(message), message.mandatory
                )
        except AMQPError as error:
            self._fail(error)

    def _returned(self, _channel: Any, _method: Any, properties: pika.BasicProperties, _body: bytes) -> None:
        self._refused.add(UUID(properties.message_id))

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        upto = [tag for tag in self._pending if tag <= method.delivery_tag]
        tags = upto if method.multiple else [method.delivery_tag]
        for tag in tags:
            message_id = self._pending.pop(tag, None)
            if message_id is not None and method.NAME == "Basic.Nack":
                self._refused.add(message_id)
        if not self._pending:
            self._done.set()

    def _fail(self, error: Any) -> None:
        self._failure = str(error) or "connection closed"
        self._done.set()


def _drive(connection: pika.SelectConnection) -> None:
    connection.ioloop.start()
    connection.ioloop.close()


def _end(connection: pika.SelectConnection) -> None:
    if connection.is_open:
        connection.add_on_close_callback(lambda *_: connection.ioloop.stop())
        connection.close()
    else:
        connection.ioloop.stop()


def _properties(message: Message) -> pika.BasicProperties:
    headers = {"content_type": "application/json", "x-request-id": message.request_id}
    if message.traceparent:
        headers["traceparent"] = message.traceparent
    return pika.BasicProperties(
        message_id=str(message.id),
        type=message.type,
        content_type="application/json",
        delivery_mode=pika.DeliveryMode.Persistent.value,
        headers=headers,
    )


# --- operators -----------------------------------------------------------------------------------------------------


def declare_all(url: str, consumers: Iterable[Consumer] | None = None) -> int:
    """Declare the whole suite's topology before anybody publishes; returns the number of queues with consumers."""
    chosen = list(registry if consumers is None else consumers)
    connection = pika.BlockingConnection(parameters(url))
    try:
        declare_topology(connection.channel(), chosen)
    finally:
        connection.close()
    return len({item.queue for item in chosen})


def replay(channel: BlockingChannel, queue: str) -> int:
    """Move everything from `queue`'s dead-letter queue back to `queue`, confirmed one by one; returns how many."""
    channel.confirm_delivery()
    moved = 0
    while True:
        method, properties, body = channel.basic_get(dead_letter_queue(queue))
        if method is None:
            return moved
        properties.headers = {k: v for k, v in (properties.headers or {}).items() if not k.startswith("x-heartguard-")}
        channel.basic_publish("", queue, body, properties, mandatory=True)
        channel.basic_ack(method.delivery_tag)
        moved += 1


def show(channel: BlockingChannel, queue: str, limit: int = 20) -> list[str]:
    """The first messages of `queue`'s dead-letter queue (id, type, reason), left where they are. No body is shown."""
    lines: list[str] = []
    tags: list[int] = []
    while len(lines) < limit:
        method, properties, _body = channel.basic_get(dead_letter_queue(queue))
        if method is None:
            break
        tags.append(method.delivery_tag)
        reason = (properties.headers or {}).get("x-heartguard-reason", "")
        lines.append(f"{properties.message_id}  {properties.type}  {reason}")
    for tag in tags:
        channel.basic_reject(tag, requeue=True)
    return lines


def _main() -> int:
    import argparse
    import importlib
    import importlib.util

    from common.config import SERVICES, ServiceSettings, package_of

    parser = argparse.ArgumentParser(prog="python -m common.messaging", description="RabbitMQ for operators.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("declare", help="declare every exchange and queue of the suite")
    dead = commands.add_parser("dead-letter", help="look at, or send again, what could not be processed")
    dead.add_argument("action", choices=["list", "show", "replay"])
    dead.add_argument("queue", nargs="?")
    chosen = parser.parse_args()

    for service in SERVICES:
        if importlib.util.find_spec(f"{package_of(service)}.consumers"):
            importlib.import_module(f"{package_of(service)}.consumers")
    from common import messaging  # run as a script this module is `__main__`; the registry is the imported one's

    url = ServiceSettings.load("audit").rabbitmq_url
    if chosen.command == "declare":
        print(f"{messaging.declare_all(url)} queues declared")
        return 0
    queues = sorted({item.queue for item in messaging.registry})
    connection = pika.BlockingConnection(parameters(url))
    channel = connection.channel()
    if chosen.action == "list":
        for queue in queues:
            frame = channel.queue_declare(dead_letter_queue(queue), passive=True)
            print(f"{frame.method.message_count:6d}  {queue}")
    elif chosen.queue not in queues:
        parser.error(f"name one of these queues: {', '.join(queues)}")
    elif chosen.action == "show":
        print("\n".join(show(channel, chosen.queue)) or "empty")
    else:
        print(f"{replay(channel, chosen.queue)} messages sent again to {chosen.queue}")
    connection.close()
    return 0


def wait_for_broker(url: str, seconds: float) -> None:
    """Return once the broker answers; raises BrokerAway after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            pika.BlockingConnection(parameters(url)).close()
            return
        except (AMQPError, OSError) as error:
            if time.monotonic() > deadline:
                raise BrokerAway(str(error)) from error
            time.sleep(0.2)


if __name__ == "__main__":
    raise SystemExit(_main())
