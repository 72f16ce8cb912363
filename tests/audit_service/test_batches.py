"""The trail's consumer takes what waits at once: nothing lost, nothing twice, and a bad message holds nobody up."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from uuid import uuid4

import pika
import pytest

from audit_service.consumers import AuditLogged, keep_events
from common import messaging, publishing
from common.consuming import QueueConsumer
from common.events import AuditLog, wrap


@pytest.fixture
def queue(servers):
    """A queue of its own, with its retry and dead-letter queues, on RabbitMQ."""
    name = f"audit.test_{uuid4().hex[:8]}"
    item = messaging.Consumer(name, "audit.fanout", "audit.log", name, AuditLogged, keep_events, True)
    messaging.declare(servers.rabbitmq.url, messaging.bindings_of([item]))
    connection = pika.BlockingConnection(messaging.parameters(servers.rabbitmq.url))
    yield name
    channel = connection.channel()
    names = [name, messaging.dead_letter_queue(name)]
    for each in names + [messaging.retry_queue(name, delay) for delay in messaging.RETRY_DELAYS_S]:
        channel.queue_delete(each)
    connection.close()


def consume(trail, servers, queue, done):
    """Run the consumer until `done()`; returns how many events came at a time."""
    sizes = []

    def keep(session, events):
        sizes.append(len(events))
        keep_events(session, events)

    item = messaging.Consumer(queue, "audit.fanout", "audit.log", queue, AuditLogged, keep, True)
    stopping = threading.Event()
    consumer = QueueConsumer(servers.rabbitmq.url, trail.database, queue, [item], {}, stopping)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    deadline = time.monotonic() + 10
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)
    stopping.set()
    thread.join()
    assert done()
    return sizes


def messages_of(queue, org_id, count, **values):
    """Events of an organisation as they come from the broker."""
    made = []
    for number in range(count):
        fields = {"actor": "a", "action": f"step.{number}", "entity": "e", "org_id": org_id, "ts": datetime.now(UTC)}
        event = AuditLog(**fields | values)
        message_id, body = wrap(event, source="test", org_id=org_id, actor="a", request_id="request-1")
        made.append(publishing.Message(message_id, "", queue, event.type, body))
    return made


def send(servers, messages):
    publisher = publishing.Publisher(servers.rabbitmq.url)
    assert publisher.publish(messages) == set()
    publisher.close()


def dead(servers, queue):
    connection = pika.BlockingConnection(messaging.parameters(servers.rabbitmq.url))
    frame = connection.channel().queue_declare(messaging.dead_letter_queue(queue), passive=True)
    connection.close()
    return frame.method.message_count


def actions_of(trail, person):
    rows = trail.call("GET", "/audit/logs?limit=200", person).json["data"]
    return [row["action"] for row in reversed(rows)]


def test_what_waits_is_written_together_in_its_order(service, servers, queue, clinician, stranger):
    trail = service("audit")
    ours, theirs = messages_of(queue, clinician.org_id, 60), messages_of(queue, stranger.org_id, 60)
    send(servers, [message for pair in zip(ours, theirs, strict=True) for message in pair])
    sizes = consume(trail, servers, queue, lambda: len(actions_of(trail, stranger)) == 60)
    assert actions_of(trail, clinician) == actions_of(trail, stranger) == [f"step.{number}" for number in range(60)]
    assert sum(sizes) == 120
    assert max(sizes) > 1


def test_a_message_that_comes_again_is_one_row(service, servers, queue, clinician):
    trail = service("audit")
    first = messages_of(queue, clinician.org_id, 3)
    send(servers, [*first, *first])
    last = messages_of(queue, clinician.org_id, 1, action="last")
    send(servers, [first[1], *last])
    consume(trail, servers, queue, lambda: "last" in actions_of(trail, clinician))
    assert actions_of(trail, clinician) == ["step.0", "step.1", "step.2", "last"]


@pytest.mark.parametrize("fault", ["not an event", "too long"])
def test_a_bad_message_holds_nobody_up(service, servers, queue, clinician, fault):
    trail = service("audit")
    good = messages_of(queue, clinician.org_id, 20)
    if fault == "not an event":
        bad = publishing.Message(uuid4(), "", queue, "audit.log", b'{"specversion": "1.0"}')
    else:
        (bad,) = messages_of(queue, clinician.org_id, 1, action="x" * 81)
    send(servers, [*good[:10], bad, *good[10:]])
    consume(trail, servers, queue, lambda: len(actions_of(trail, clinician)) == 20)
    assert actions_of(trail, clinician) == [f"step.{number}" for number in range(20)]
    if fault == "not an event":
        assert dead(servers, queue) == 1
    assert trail.call("GET", "/audit/verify", clinician).json["data"]["state"] == "whole"
