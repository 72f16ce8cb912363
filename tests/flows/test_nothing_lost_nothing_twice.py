"""Alarms travel from samples to mailboxes while processes and the broker are killed: none lost, none doubled.

Every event starts as samples of a stream of its own: 80 % oxygen saturation for 40 s is one desaturation episode.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS
from tests.support.suite import Suite
from tests.support.ward import ALERT_TYPES, Ward, admit, arrived, await_bindings, wait_until, write_samples

WEB = ("auth", "patient", "influx")
WORKERS = ("device", "influx", "inference", "alert", "notification", "audit")
FAILPOINTS = ",".join(
    [
        "relay.before_publish=0.02",
        "relay.between_publish_and_mark=0.02",
        "consumer.before_commit=0.003",
        "consumer.between_commit_and_ack=0.003",
    ]
)
KILLS = 20
# Each alarm is some forty events on the bus: 150 are more than 5,000. The long form is 2,000 alarms.
ALARMS = 2000 if os.environ.get("HEARTGUARD_LONG") else 150


@pytest.fixture
def suite(servers, tmp_path):
    made = Suite(servers, tmp_path)
    yield made
    made.stop()


def assert_everything_once(service, servers, ward: Ward) -> None:
    """One alert of each type for each patient, one e-mail for each alert, one audit row for each step.

    Streams that end are reported lost a minute later: of those alerts there may be some more, each once too.
    """
    org = {"org": ward.person.org_id}
    with service("alert").database.transaction(ALL_ORGANIZATIONS) as session:
        rows = session.execute(text("SELECT id, patient_id, type, status FROM alerts WHERE org_id = :org"), org).all()
    alerts = Counter((row.patient_id, row.type) for row in rows)
    assert set(alerts.values()) == {1}
    assert set(alerts) >= {(patient, kind) for _, patient in ward.streams for kind in ALERT_TYPES}
    episodes = [row for row in rows if row.type in ALERT_TYPES]
    assert {row.status for row in episodes} == {"notified"}
    with service("notification").database.transaction(ALL_ORGANIZATIONS) as session:
        deliveries = session.execute(
            text("SELECT id, alert_id, status FROM alert_delivery WHERE org_id = :org AND channel = 'EMAIL'"), org
        ).all()
    per_alert = Counter(row.alert_id for row in deliveries)
    assert set(per_alert.values()) == {1}
    sent = {row.alert_id: str(row.id) for row in deliveries if row.status == "SENT"}
    assert set(sent) >= {row.id for row in episodes}
    mails = Counter(mail["Message-ID"] for mail in servers.mail.messages() if ward.email in mail["To"])
    assert set(mails.values()) == {1}
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
    assert_everything_once(service, servers, ward)


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
    assert_everything_once(service, servers, ward)
