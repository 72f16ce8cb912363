"""Outbox, relay, broker, inbox: on a real RabbitMQ, with handlers that misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import ClassVar
from uuid import UUID, uuid4

import pika
import pytest
from sqlalchemy import text

from common import messaging, outbox, publishing
from common.auth import service_caller
from common.consuming import QueueConsumer
from common.database import ALL_ORGANIZATIONS, Database
from common.events import Event
from common.outbox import record


class Noted(Event, frozen=True, kw_only=True):
    """A test's event."""

    type: ClassVar[str] = "test.noted"
    exchange: ClassVar[str] = "inference.fanout"
    number: int


class Later(Event, frozen=True, kw_only=True):
    """An event that nobody consumes."""

    type: ClassVar[str] = "test.later"
    exchange: ClassVar[str] = "device.topic"
    number: int


@pytest.fixture
def patients(service, servers):
    under_test = service("patient")
    with under_test.database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.execute(text("DELETE FROM outbox"))
    return under_test


@pytest.fixture
def publisher(servers):
    made = publishing.Publisher(servers.rabbitmq.url)
    yield made
    made.close()


class Running:
    """A consumer on its own thread, on a queue of its own."""

    def __init__(self, url: str, database: Database, handler: Callable[..., None]) -> None:
        self.queue = f"patient.test_{uuid4().hex[:8]}"
        item = messaging.Consumer(self.queue, Noted.exchange, Noted.type, Noted.type, Noted, handler)
        messaging.declare(url, messaging.bindings_of([item]))
        self.stopping = threading.Event()
        self._consumer = QueueConsumer(url, database, self.queue, [item], {}, self.stopping)
        self._thread = threading.Thread(target=self._consumer.run)
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self._thread.join()


@pytest.fixture
def consuming(servers, patients):
    running: list[Running] = []

    def start(handler: Callable[..., None]) -> Running:
        running.append(Running(servers.rabbitmq.url, patients.database, handler))
        return running[-1]

    yield start
    for item in running:
        item.stop()
    connection = pika.BlockingConnection(messaging.parameters(servers.rabbitmq.url))
    for item in running:
        names = [item.queue, messaging.dead_letter_queue(item.queue)]
        for name in names + [messaging.retry_queue(item.queue, delay) for delay in messaging.RETRY_DELAYS_S]:
            connection.channel().queue_delete(name)
    connection.close()


def note(database: Database, *numbers: int, kind: type[Event] = Noted) -> UUID:
    org_id = uuid4()
    with database.transaction(org_id) as session:
        caller = service_caller("patient", org_id, "request-1")
        record(session, caller, "test.noted", "tests", publish=[kind(number=number) for number in numbers])
    return org_id


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


def waiting(database: Database) -> int:
    with database.transaction(ALL_ORGANIZATIONS) as session:
        return session.execute(text("SELECT count(*) FROM outbox WHERE type LIKE 'test.%'")).scalar_one()


def test_an_event_travels_with_its_organization_and_request(patients, publisher, consuming):
    seen = []
    consuming(lambda session, caller, event: seen.append((caller.org_id, caller.request_id, event.number)))
    org_id = note(patients.database, 1, 2, 3)
    outbox.relay(patients.database, publisher)
    eventually(lambda: len(seen) == 3)
    assert seen == [(org_id, "request-1", number) for number in (1, 2, 3)]
    assert waiting(patients.database) == 0


def test_a_rolled_back_transaction_says_nothing(patients):
    with pytest.raises(ZeroDivisionError), patients.database.transaction(uuid4()) as session:
        record(session, service_caller("patient"), "test.noted", "tests", publish=Noted(number=1))
        raise ZeroDivisionError
    assert waiting(patients.database) == 0


def test_a_message_sent_twice_has_one_effect(patients, publisher, consuming):
    seen = []
    running = consuming(lambda session, caller, event: seen.append(event.number))
    note(patients.database, 7)
    with patients.database.transaction(ALL_ORGANIZATIONS) as session:
        row = session.execute(text("SELECT * FROM outbox WHERE type = 'test.noted'")).one()
    message = publishing.Message(row.message_id, row.exchange, row.routing_key, row.type, bytes(row.body))
    publisher.publish([message, message])
    outbox.relay(patients.database, publisher)
    note(patients.database, 8)
    outbox.relay(patients.database, publisher)
    eventually(lambda: 8 in seen)
    assert seen == [7, 8]
    assert running.queue


def test_what_nobody_listens_to_stays_in_the_outbox(patients, publisher):
    note(patients.database, 1, kind=Later)
    outbox.relay(patients.database, publisher)
    assert waiting(patients.database) == 1


def test_a_failing_handler_is_retried_then_succeeds(patients, publisher, consuming):
    seen = []

    def fail_once(session, caller, event):
        seen.append(event.number)
        if len(seen) == 1:
            raise ValueError("not yet")

    consuming(fail_once)
    note(patients.database, 5)
    outbox.relay(patients.database, publisher)
    eventually(lambda: seen == [5, 5])


def test_a_body_that_does_not_validate_goes_to_dead_letter_at_once(servers, patients, publisher, consuming):
    running = consuming(lambda session, caller, event: None)
    body = b'{"specversion": "1.0", "type": "test.noted"}'
    publisher.publish([publishing.Message(uuid4(), Noted.exchange, "", Noted.type, body)])
    connection = pika.BlockingConnection(messaging.parameters(servers.rabbitmq.url))
    channel = connection.channel()
    dead = messaging.dead_letter_queue(running.queue)
    eventually(lambda: channel.queue_declare(dead, passive=True).method.message_count == 1)
    assert "invalid" in messaging.show(channel, running.queue)[0]
    connection.close()


def test_a_poisoned_message_ends_in_dead_letter_and_can_be_replayed(
    servers, patients, publisher, consuming, monkeypatch
):
    monkeypatch.setattr("common.consuming.RETRY_DELAYS_S", ())
    poisoned, seen = [True], []

    def poison(session, caller, event):
        if poisoned[0]:
            raise ValueError("poison")
        seen.append(event.number)

    running = consuming(poison)
    note(patients.database, 9)
    outbox.relay(patients.database, publisher)
    connection = pika.BlockingConnection(messaging.parameters(servers.rabbitmq.url))
    channel = connection.channel()
    dead = messaging.dead_letter_queue(running.queue)
    eventually(lambda: channel.queue_declare(dead, passive=True).method.message_count == 1)
    poisoned[0] = False
    assert messaging.replay(channel, running.queue) == 1
    eventually(lambda: seen == [9])
    connection.close()


def test_a_large_outbox_goes_out_in_batches_and_in_order(patients, publisher, consuming):
    seen = []
    consuming(lambda session, caller, event: seen.append(event.number))
    note(patients.database, *range(350))
    while outbox.relay(patients.database, publisher):
        pass
    eventually(lambda: len(seen) == 350)
    assert seen == list(range(350))


def test_a_broker_that_is_away_is_said_so(patients):
    away = publishing.Publisher("amqp://guest:guest@127.0.0.1:1/")
    note(patients.database, 1)
    with pytest.raises(publishing.BrokerAway):
        outbox.relay(patients.database, away)
    assert waiting(patients.database) == 1
