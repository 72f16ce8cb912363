"""The real worker on the real broker, killed where it hurts most: every alarm still arrives, under one Message-ID."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pika
import pytest

from common.events import Event, wrap
from common.messaging import declare_topology
from tests.notification_service.workers import wait_until
from tests.support.services import event_like


def publish(servers, routing_key: str, event: Event, org_id: UUID) -> None:
    """Publish as a relay would: again until somebody has declared a queue for it."""
    _, body = wrap(event, source="test", org_id=org_id, actor="service:test", request_id="test-broker")
    properties = pika.BasicProperties(type=event.type)

    def routed() -> bool:
        try:
            channel.basic_publish(event.exchange, routing_key, body, properties, mandatory=True)
        except pika.exceptions.UnroutableError:
            return False
        return True

    connection = pika.BlockingConnection(pika.URLParameters(servers.rabbitmq.url))
    try:
        channel = connection.channel()
        declare_topology(channel, [])
        channel.confirm_delivery()
        wait_until(routed)
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("failpoint", "letters_before"), [("delivery.between_claim_and_send", 0), ("delivery.between_send_and_mark", 1)]
)
def test_a_killed_sender_leaves_nothing_lost(desk, worker, failpoint, letters_before):
    desk.notify(desk.patient("es"))
    desk.resolve()
    assert worker(failpoints=failpoint).wait() == -signal.SIGKILL
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
    connection = pika.BlockingConnection(pika.URLParameters(servers.rabbitmq.url))
    try:
        channel = connection.channel()
        declare_topology(channel, [])
        back = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(back, "notification.topic", "alert.delivery_update.*")
        worker()
        wait_until(lambda: b"worker.ready" in log.read_bytes())
        request = desk.request(desk.patient("es"))
        publish(servers, "alert.notify.email", request, desk.person.org_id)
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


@pytest.mark.parametrize("failpoint", ["", "consumer.before_commit", "consumer.between_commit_and_ack"])
def test_from_a_candidate_to_a_notified_alert(desk, service, servers, worker, log, failpoint):
    """Both services' workers; the alert's is killed once at the failpoint and started again."""
    alerts = service("alert")
    candidate = event_like(
        "inference.alert_candidate",
        "inference.fanout",
        candidate_id=uuid4(),
        episode_id=uuid4(),
        transition="open",
        inference_id=uuid4(),
        patient_id=desk.patient("es"),
        stream_id=None,
        device_id=None,
        event_type="ARRHYTHMIA",
        level="critical",
        observed_at=datetime.now(UTC),
        detected_at=datetime.now(UTC),
        model="ecg_rhythm 1.0.0",
        dedup_key="test",
    )

    def steps(channel: str | None = None) -> list[str]:
        (alert,) = alerts.call("GET", f"/alerts?patient={candidate.patient_id}", desk.person).json["data"] or [None]
        timeline = alerts.call("GET", f"/alerts/{alert['id']}/timeline", desk.person).json["data"] if alert else []
        return [step["step"] for step in timeline if channel is None or step["details"].get("channel") == channel]

    worker("notification")
    first = worker("alert", failpoint)
    wait_until(lambda: log.read_bytes().count(b"worker.ready") == 2)
    publish(servers, "", candidate, desk.person.org_id)
    if failpoint:
        assert first.wait() == -signal.SIGKILL
        worker("alert")
    wait_until(lambda: "delivery_sent" in steps("EMAIL") and "notified" in steps())
    assert steps("EMAIL") == ["delivery_queued", "delivery_sent"]
    assert [steps().count(step) for step in ("created", "paged", "notified")] == [1, 1, 1]
    assert len(desk.letters()) == 1
