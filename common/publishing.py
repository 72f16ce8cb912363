"""Publishing with confirms, a batch at a time, on a connection that its own thread drives.

pika's blocking channel waits for each confirm apart (about 1,800/s); this one waits for a batch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pika

from common.messaging import BrokerError, declare, parameters

CONFIRM_TIMEOUT_S = 10.0


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


class Publisher:
    """Publishes for one service; not for several threads at once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._link: _Link | None = None

    def publish(self, messages: Sequence[Message]) -> set[UUID]:
        """Publish and wait until the broker has confirmed all; returns the ids it refused or could not route.

        Raises BrokerAway when the connection is lost or no confirm comes within 10 s.
        """
        if self._link is None:
            self._link = self._open()
        try:
            return self._link.publish(messages)
        except BrokerAway:
            self.close()
            raise

    def close(self) -> None:
        """End the connection; the next publish opens another."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _open(self) -> _Link:
        try:
            declare(self._url)  # a broker that lost its queues must not lose events too
            return _Link(self._url)
        except (BrokerError, OSError) as error:
            raise BrokerAway(str(error)) from error


class _Link:
    """One connection and its channel, from opening to the first failure."""

    def __init__(self, url: str) -> None:
        self._channel: Any = None
        self._pending: dict[int, UUID] = {}
        self._refused: set[UUID] = set()
        self._next_tag = 1
        self._failure: str | None = None
        self._done = threading.Event()
        self._connection = pika.SelectConnection(
            parameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
            on_open_error_callback=self._failed,
            on_close_callback=self._failed,
        )
        threading.Thread(target=self._drive, name="publisher", daemon=True).start()
        try:
            self._await("no connection in time")
        except BrokerAway:
            self.close()
            raise

    def publish(self, messages: Sequence[Message]) -> set[UUID]:
        """See Publisher.publish."""
        self._done.clear()
        self._connection.ioloop.add_callback_threadsafe(lambda: self._send(messages))
        self._await("no confirm in time")
        return self._refused

    def close(self) -> None:
        """End the connection and its thread."""
        self._connection.ioloop.add_callback_threadsafe(self._end)

    def _await(self, complaint: str) -> None:
        if not self._done.wait(CONFIRM_TIMEOUT_S) or self._failure:
            raise BrokerAway(self._failure or complaint)

    # Below: only on the connection's thread.

    def _drive(self) -> None:
        self._connection.ioloop.start()
        self._connection.ioloop.close()

    def _opened(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._failed)
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._confirmed, callback=lambda _frame: self._done.set())

    def _send(self, messages: Sequence[Message]) -> None:
        if self._failure:
            self._done.set()
            return
        self._refused = set()
        for message in messages:
            self._pending[self._next_tag] = message.id
            self._next_tag += 1
        try:
            for message in messages:
                self._channel.basic_publish(
                    message.exchange, message.routing_key, message.body, _properties(message), message.mandatory
                )
        except BrokerError as error:
            self._failed(None, error)

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

    def _failed(self, _source: Any, error: Any) -> None:
        self._failure = str(error) or "connection closed"
        self._done.set()

    def _end(self) -> None:
        if self._connection.is_open:
            self._connection.add_on_close_callback(lambda *_: self._connection.ioloop.stop())
            self._connection.close()
        else:
            self._connection.ioloop.stop()


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
