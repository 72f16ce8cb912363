"""The real worker on the real broker, killed where it hurts most: every alarm still arrives, under one Message-ID."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class WorkerProcess:
    """`python -m common.worker notification` with short leases."""

    def __init__(self, log: Path, failpoints: str = "") -> None:
        self._log = log.open("ab")
        environment = {**os.environ, "DELIVERY_LEASE_S": "1", "HEARTGUARD_FAILPOINTS": failpoints}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "common.worker", "notification"],
            cwd=ROOT,
            env=environment,
            stdout=self._log,
            stderr=self._log,
        )

    def wait(self) -> int:
        """Its exit status, once it has ended by itself."""
        return self._process.wait(30)

    def stop(self) -> None:
        """End it orderly."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)
        self._log.close()


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "worker.log"


@pytest.fixture
def worker(log) -> Iterator[Callable[..., WorkerProcess]]:
    started: list[WorkerProcess] = []

    def start(failpoints: str = "") -> WorkerProcess:
        started.append(WorkerProcess(log, failpoints))
        return started[-1]

    yield start
    for process in started:
        process.stop()


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("failpoint", "letters_before"), [("delivery.between_claim_and_send", 0), ("delivery.between_send_and_mark", 1)]
)
def test_a_killed_sender_leaves_nothing_lost(desk, worker, failpoint, letters_before):
    desk.notify(desk.patient("es"))
    desk.resolve()
    assert worker(failpoint).wait() == -signal.SIGKILL
    assert len(desk.letters()) == letters_before
    (delivery,) = desk.deliveries()
    assert delivery["status"] == "QUEUED"
    worker()
    wait_until(lambda: desk.deliveries()[0]["status"] == "SENT")
    letters = desk.letters()
    assert len(letters) == letters_before + 1
    assert {message["Message-ID"] for message in letters} == {f"<{delivery['id']}@heartguard.test>"}
    assert desk.events(delivery["id"]) == [("QUEUED", None), ("SENT", None)]


def test_from_the_broker_to_the_mailbox_and_back(desk, servers, worker, log):
    import pika

    from common.events import wrap

    connection = pika.BlockingConnection(pika.URLParameters(servers.rabbitmq.url))
    try:
        channel = connection.channel()
        channel.exchange_declare("notification.topic", "topic", durable=True)
        back = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(back, "notification.topic", "alert.delivery_update.*")
        worker()
        patient_id = desk.patient("es")
        request = desk.request(patient_id)
        wait_until(lambda: b"worker.ready" in log.read_bytes())
        channel.confirm_delivery()

        def published() -> bool:
            _, body = wrap(request, source="test", org_id=desk.person.org_id, actor="test", request_id="test-broker")
            properties = pika.BasicProperties(type="alert.notify", message_id="1")
            try:
                channel.basic_publish("notification.topic", "alert.notify.email", body, properties, mandatory=True)
            except pika.exceptions.UnroutableError:
                return False  # the worker has not declared its queue yet
            return True

        wait_until(published)
        seen: list[str] = []

        def sent() -> bool:
            method, _, body = channel.basic_get(back, auto_ack=True)
            if method is not None and str(request.alert_id).encode() in body:  # other tests' outbox goes out as well
                seen.append(method.routing_key)
            return seen[-1:] == ["alert.delivery_update.sent"]

        wait_until(sent)
    finally:
        connection.close()
    assert seen == ["alert.delivery_update.queued", "alert.delivery_update.sent"]
    assert len(desk.letters()) == 1
    text = log.read_text()
    assert desk.emails[0] not in text
    assert "Canario" not in text
