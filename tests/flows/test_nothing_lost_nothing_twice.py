"""Alarms travel from samples to mailboxes while processes and the broker are killed: none lost, none doubled.

Every event starts as samples of a stream of its own: 80 % oxygen saturation for 40 s is one desaturation episode.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS
from tests.support.suite import Suite
from tests.support.ward import (
    ALERT_TYPES,
    WEB,
    WORKERS,
    Ward,
    admit,
    arrived,
    await_bindings,
    scalar,
    wait_until,
    write_samples,
)

FAILPOINTS = ",".join(
    [
        "relay.before_publish=0.02",
        "relay.between_publish_and_mark=0.02",
        "consumer.before_commit=0.003",
        "consumer.between_commit_and_ack=0.003",
    ]
)
KILLS, FEW_KILLS = 20, 5
# Each alarm is some forty events on the bus: 150 are more than 5,000. The long form is 2,000 alarms.
ALARMS = 2000 if os.environ.get("HEARTGUARD_LONG") else 150


@pytest.fixture
def suite(servers, tmp_path, empty_outboxes):
    made = Suite(servers, tmp_path)
    yield made
    made.stop()


def assert_everything_once(suite: Suite, service, servers, ward: Ward) -> None:
    """One alert of each type for each patient, one delivery for each page of an alert, one audit row for each step.

    A page is a step of the timeline: the first, and one for each escalation of an alert that nobody acknowledges.
    Streams that end are reported lost a minute later: of those alerts there may be some more, each once too.
    """
    org = {"org": ward.person.org_id}
    with service("notification").database.transaction(ALL_ORGANIZATIONS) as session:
        deliveries = session.execute(
            text(
                "SELECT id, alert_id, notification_id, status FROM alert_delivery"
                " WHERE org_id = :org AND channel = 'EMAIL'"
            ),
            org,
        ).all()
    # Read after the deliveries, so that every one of them must have its page here.
    with service("alert").database.transaction(ALL_ORGANIZATIONS) as session:
        rows = session.execute(
            text("SELECT id, patient_id, type, status, escalations FROM alerts WHERE org_id = :org"), org
        ).all()
        pages = session.execute(
            text(
                "SELECT alert_id, step, details->>'escalation' AS escalation FROM alert_timeline"
                " WHERE org_id = :org AND details->>'channels' LIKE '%EMAIL%'"
            ),
            org,
        ).all()
    alerts = Counter((row.patient_id, row.type) for row in rows)
    assert set(alerts.values()) == {1}
    assert set(alerts) >= {(patient, kind) for _, patient in ward.streams for kind in ALERT_TYPES}
    episodes = [row for row in rows if row.type in ALERT_TYPES]
    assert {row.status for row in episodes} == {"notified"}
    steps = defaultdict(list)
    for page in pages:
        steps[page.alert_id].append((page.step, page.escalation))
    for row in episodes:
        wanted = [("paged", None), *(("escalated", str(number + 1)) for number in range(row.escalations))]
        assert Counter(steps[row.id]) == Counter(wanted), f"{row.type} was paged as {steps[row.id]}"
    assert set(Counter(row.notification_id for row in deliveries).values()) == {1}
    per_alert, pages_of = Counter(row.alert_id for row in deliveries), Counter(page.alert_id for page in pages)
    doubled = {alert: times for alert, times in per_alert.items() if times > pages_of[alert]}
    assert not doubled
    sent = {row.alert_id: str(row.id) for row in deliveries if row.status == "SENT"}
    assert set(sent) >= {row.id for row in episodes}
    mails = Counter(mail["Message-ID"] for mail in servers.mail.messages() if ward.email in mail["To"])
    # A mail server cannot be asked what it took: who is killed between its answer and the mark sends the one letter in
    # hand again, under the same Message-ID. Without a kill there is no such copy.
    copies = sum(mails.values()) - len(mails)
    assert copies <= suite.killed["notification-worker"]
    assert {name.strip("<>").split("@")[0] for name in mails} >= {sent[row.id] for row in episodes}
    with service("audit").database.transaction(ALL_ORGANIZATIONS) as session:
        created = session.execute(
            text("SELECT entity_id FROM audit_logs WHERE org_id = :org AND action = 'alert.created'"), org
        ).scalars()
        audited = Counter(created)
    assert set(audited.values()) == {1}
    assert set(audited) >= {str(row.id) for row in episodes}
    for name in WORKERS:
        with service(name).database.transaction(ALL_ORGANIZATIONS) as session:
            waiting = session.execute(
                text("SELECT count(*) FROM outbox WHERE created_at < now() - interval '1 minute'")
            )
            assert waiting.scalar() == 0, f"{name} still has unsent messages"


def test_alarms_survive_twenty_kills(suite, service, servers):
    suite.start_web(*WEB)
    suite.start_workers(*WORKERS)
    ward = admit(service, ALARMS)
    await_bindings(suite, service, ward)
    suite.stop()
    suite.start_web(*WEB)
    suite.start_workers(*WORKERS, failpoints=FAILPOINTS)
    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(write_samples, suite, service, ward)
        wait_until(suite, lambda: arrived(service, ward), KILLS)
        writing.result()
    assert suite.kills >= KILLS
    assert_everything_once(suite, service, servers, ward)


def test_escalations_survive_kills(suite, service, servers):
    """Nobody acknowledges: each alert is paged once more after a minute, and not a third time."""
    suite.start_web(*WEB)
    suite.start_workers(*WORKERS)
    ward = admit(service, 60)
    policy = {
        "channels": {level: ["EMAIL"] for level in ("medium", "high", "critical")},
        "escalation_minutes": {level: 1 for level in ("medium", "high", "critical")},
        "hold_off_minutes": 0,
        "max_escalations": 1,
        "max_shelve_minutes": 60,
    }
    answer = service("alert").call("POST", "/alert-policies", ward.person, json=policy)
    assert answer.status_code == 201, answer.text
    await_bindings(suite, service, ward)
    suite.stop()
    suite.start_web(*WEB)
    suite.start_workers(*WORKERS, failpoints=FAILPOINTS)
    write_samples(suite, service, ward)
    escalated = text("SELECT count(*) FROM alerts WHERE org_id = :org AND type <> 'SIGNAL_LOST' AND escalations = 1")
    wanted = len(ward.streams) * len(ALERT_TYPES)
    wait_until(
        suite,
        lambda: scalar(service, "alert", escalated, ward) == wanted and arrived(service, ward),
        FEW_KILLS,
    )
    assert suite.kills >= FEW_KILLS
    assert_everything_once(suite, service, servers, ward)


def test_alarms_survive_a_broker_that_is_killed_three_times(suite, service, servers):
    suite.start_web(*WEB)
    suite.start_workers(*WORKERS)
    ward = admit(service, 100)
    await_bindings(suite, service, ward)
    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(write_samples, suite, service, ward)
        for _ in range(3):
            time.sleep(2)
            servers.rabbitmq.kill()
            time.sleep(0.5)
            servers.rabbitmq.launch(tied=True)
            servers.rabbitmq.wait_ready()
        wait_until(suite, lambda: arrived(service, ward), KILLS)
        writing.result()
    assert_everything_once(suite, service, servers, ward)
