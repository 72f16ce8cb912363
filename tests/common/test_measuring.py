"""What waits is measured on one connection to the broker, which is made anew when it has broken."""

from __future__ import annotations

import socket
import threading
from uuid import uuid4

import pytest

from common import cache, messaging
from common.measuring import Measurer, QueueAge
from tests.common.test_bus import Noted


def test_measurements_share_a_connection_until_it_breaks(service, servers):
    patient, queue, url = service("patient"), f"patient.test_{uuid4().hex[:8]}", servers.rabbitmq.url
    consumer = messaging.Consumer(queue, Noted.exchange, Noted.type, Noted.type, Noted, print)
    messaging.declare(url, messaging.bindings_of([consumer]))
    client = cache.connect(patient.service.settings.redis_url)
    measurer = Measurer(url, patient.database, client, {queue: QueueAge(queue)}, threading.Event())
    found = [{"name": queue, "waiting": 0, "oldest_s": 0.0, "retrying": 0, "dead": 0}]
    try:
        assert measurer._measure_queues() == found
        connection = measurer._connection
        assert measurer._measure_queues() == found
        assert measurer._connection is connection
        connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)
        with pytest.raises(messaging.BrokerError):
            measurer._measure_queues()
        assert measurer._measure_queues() == found
    finally:
        measurer._disconnect()
