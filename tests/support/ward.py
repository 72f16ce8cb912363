"""A ward for tests of the whole way: an organisation, a clinician on duty, patients with a saturation stream each.

80 % oxygen saturation for 40 s is one desaturation episode and one general risk (a single NEWS2 parameter at 3): two
alerts, two e-mails.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import urllib3
from sqlalchemy import TextClause, text
from uuid6 import uuid7

from common.auth import service_caller
from common.database import ALL_ORGANIZATIONS
from common.outbox import record
from tests.support.services import Person, ServiceUnderTest
from tests.support.suite import Suite

# The processes that an alarm passes through from samples to a mailbox.
WEB = ("auth", "user", "patient", "influx")
WORKERS = ("device", "influx", "inference", "alert", "notification", "audit")
SECONDS = 40
ALERT_TYPES = ("DESAT", "GENERAL_RISK")
PATIENCE_S = 1800.0 if os.environ.get("HEARTGUARD_LONG") else 240.0

Services = Callable[[str], ServiceUnderTest]


@dataclass
class Ward:
    """An organisation with a clinician on duty and a patient with a stream for each event."""

    person: Person
    email: str
    streams: list[tuple[UUID, UUID]]  # stream, patient


def admit(service: Services, count: int) -> Ward:
    """Make the ward: the clinician through auth's API, the rest as rows and one event for each stream."""
    person, email = Person(roles=("superadmin",)), f"guardia.{uuid4().hex[:8]}@heartguard.test"
    body = {"name": "Guardia", "email": email, "password": uuid4().hex, "roles": ["clinician"]}
    user = service("auth").call("POST", "/auth/users", person, json=body)
    assert user.status_code == 201, user.text
    streams = [(uuid7(), uuid7()) for _ in range(count)]
    team, org = uuid7(), person.org_id
    with service("patient").database.transaction(org, technical=True) as session:
        session.execute(
            text("INSERT INTO care_teams (id, org_id, name, version) VALUES (:id, :org, 'Guardia', 1)"),
            {"id": team, "org": org},
        )
        session.execute(
            text(
                "INSERT INTO care_team_member (id, org_id, care_team_id, user_id, role, version)"
                " VALUES (:id, :org, :team, :user, 'doctor', 1)"
            ),
            {"id": uuid7(), "org": org, "team": team, "user": user.json["data"]["id"]},
        )
        session.execute(
            text(
                "INSERT INTO patients (id, org_id, name, birthdate, sex, risk_level, version)"
                " VALUES (:id, :org, 'Paciente', '1950-01-01', 'F', 'high', 1)"
            ),
            [{"id": patient, "org": org} for _, patient in streams],
        )
        session.execute(
            text(
                "INSERT INTO patient_care_team (id, org_id, patient_id, care_team_id, version)"
                " VALUES (:id, :org, :patient, :team, 1)"
            ),
            [{"id": uuid7(), "org": org, "patient": patient, "team": team} for _, patient in streams],
        )
    bind(service, person, streams)
    return Ward(person, email, streams)


def bind(service: Services, person: Person, streams: list[tuple[UUID, UUID]]) -> None:
    """Say that every stream is bound, as the device service does."""
    from device_service.events import SignalStreamBound

    started = datetime.now(UTC) - timedelta(minutes=5)
    events = [
        SignalStreamBound(
            binding_id=uuid7(),
            stream_id=stream,
            device_id=uuid7(),
            patient_id=patient,
            signal_type="SpO2",
            channel="",
            unit="%",
            sample_rate_hz=1.0,
            bucket="heartguard_signals",
            measurement="spo2",
            tags={},
            started_at=started,
        )
        for stream, patient in streams
    ]
    with service("device").database.transaction(person.org_id) as session:
        caller = service_caller("device", person.org_id, "flows-binding")
        for event in events:
            record(session, caller, "signal_stream.bound", f"signal_streams:{event.stream_id}", publish=event)


def write_samples(suite: Suite, service: Services, ward: Ward) -> None:
    """Write 40 s of low saturation for every stream, four clients at once; a refused write is repeated."""
    token = service("influx").token(ward.person)
    pool = urllib3.PoolManager(maxsize=4, timeout=10, retries=False)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def write(stream: UUID) -> None:
        started = datetime.now(UTC) - timedelta(seconds=SECONDS)
        body = {"stream_id": str(stream), "started_at": started.isoformat(), "values": [80.0] * SECONDS}
        for _ in range(100):
            answer = pool.request(
                "POST", f"{suite.url('influx')}/timeseries/write", body=json.dumps(body), headers=headers
            )
            if answer.status < 400:
                return
            assert answer.status in (404, 409, 503), answer.data
            time.sleep(0.2)
        raise AssertionError(f"the samples of {stream} could not be written: {answer.data!r}")

    with ThreadPoolExecutor(4) as clients:
        list(clients.map(write, [stream for stream, _ in ward.streams]))


def await_bindings(suite: Suite, service: Services, ward: Ward) -> None:
    """Wait until the time-series and inference services know every stream."""
    for name, table in (("influx", "stream_bindings"), ("inference", "monitors")):
        count = text(f"SELECT count(DISTINCT stream_id) FROM {table} WHERE org_id = :org")
        wait_until(suite, lambda count=count, name=name: scalar(service, name, count, ward) == len(ward.streams))


def scalar(service: Services, name: str, statement: TextClause, ward: Ward) -> Any:
    with service(name).database.transaction(ALL_ORGANIZATIONS) as session:
        return session.execute(statement, {"org": ward.person.org_id}).scalar()


def wait_until(suite: Suite, condition: Callable[[], bool], kills: int = 0) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        suite.revive(kills)
        assert time.monotonic() < deadline, "the alarms did not arrive in time"
        time.sleep(0.25)


def arrived(service: Services, ward: Ward) -> bool:
    """True when every alert of an episode was notified, each of its pages mailed, its creation audited."""
    episodes = "SELECT id::text FROM alerts WHERE org_id = :org AND type <> 'SIGNAL_LOST' AND status <> 'created'"
    pages = (
        "SELECT e.alert_id::text FROM alert_timeline e JOIN alerts a ON a.id = e.alert_id"
        " WHERE e.org_id = :org AND a.type <> 'SIGNAL_LOST' AND e.details->>'channels' LIKE '%EMAIL%'"
    )
    sent = "SELECT alert_id::text FROM alert_delivery WHERE org_id = :org AND channel = 'EMAIL' AND status = 'SENT'"
    audited = "SELECT entity_id FROM audit_logs WHERE org_id = :org AND action = 'alert.created'"
    notified = column(service, "alert", episodes, ward)
    return (
        len(notified) >= len(ward.streams) * len(ALERT_TYPES)
        and column(service, "alert", pages, ward) <= column(service, "notification", sent, ward)
        and notified <= column(service, "audit", audited, ward)
    )


def column(service: Services, name: str, statement: str, ward: Ward) -> Counter[str]:
    """One column of a service's rows of the ward, with how often each value stands there."""
    with service(name).database.transaction(ALL_ORGANIZATIONS) as session:
        return Counter(session.execute(text(statement), {"org": ward.person.org_id}).scalars())
