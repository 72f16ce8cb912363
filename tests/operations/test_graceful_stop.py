"""Web servers and workers get SIGTERM under load: everybody is served or told to come again, and nothing is lost.

The gateway's own process is not among them: a client would find nobody there. `ops.native reload` changes it, and
`test_rolling_upgrade` shows that.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS
from tests.support.services import Person
from tests.support.suite import Suite
from tests.support.traffic import Traffic

SERVICES = ("auth", "patient", "audit")
READS = ("/auth/permissions", "/audit/logs?limit=1")
STOPS = 50 if os.environ.get("HEARTGUARD_LONG") else 12
PATIENCE_S = 60.0
NO_LIMITS = "read=1000000,write=1000000"


@pytest.fixture
def suite(servers, tmp_path):
    limits = {"RATE_LIMITS_USER": NO_LIMITS, "RATE_LIMITS_IP": NO_LIMITS}
    started = Suite(servers, tmp_path, extra=limits)
    try:
        started.start_web(*SERVICES, "gateway")
        started.start_workers(*SERVICES)
        yield started
    finally:
        started.stop()


def test_a_stop_refuses_nobody_in_silence_and_loses_no_event(suite, service):
    person = Person()
    seed = random.SystemRandom().randrange(10_000)
    chance = random.Random(seed)
    names = [f"{name}-{kind}" for name in SERVICES for kind in ("web", "worker")]
    stopped: Counter[str] = Counter()
    slowest_stop = 0.0
    with Traffic(suite.ports["gateway"], service("auth").token(person)) as traffic:
        while stopped.total() < STOPS:
            for name in chance.sample(names, len(names))[: STOPS - stopped.total()]:
                for _ in range(chance.randrange(2, 20)):
                    traffic.ask("GET", chance.choice(READS))
                    time.sleep(0.05)
                slowest_stop = max(slowest_stop, suite.restart(name))
                stopped[name] += 1
        for name in SERVICES:
            suite.wait_ready(name)
    print(f"seed {seed}, {stopped.total()} SIGTERMs, slowest stop {slowest_stop:.2f} s")
    print(f"{len(traffic.outcomes)} requests: {traffic.summary()}; {len(traffic.made)} care teams")
    assert len(traffic.outcomes) > 10 * STOPS
    assert not traffic.dishonest(), traffic.dishonest()[:5]

    await_true(lambda: all(scalar(service, name, "SELECT count(*) FROM outbox") == 0 for name in SERVICES))
    org = person.org_id
    made = rows(service, "patient", "SELECT name FROM care_teams WHERE org_id = :org", org)
    assert made == traffic.made
    assert set(made.values()) == {1}
    teams = rows(service, "patient", "SELECT id::text FROM care_teams WHERE org_id = :org", org)
    statement = "SELECT entity_id FROM audit_logs WHERE org_id = :org AND action = 'care_team.created'"
    await_true(lambda: rows(service, "audit", statement, org).total() >= len(teams))
    assert rows(service, "audit", statement, org) == teams


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the workers did not finish in time"
        time.sleep(0.25)


def rows(service, name: str, statement: str, org) -> Counter[str]:
    """One column of a service's rows, with how often each value stands there."""
    with service(name).database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        return Counter(session.execute(text(statement), {"org": org}).scalars())


def scalar(service, name: str, statement: str) -> int:
    with service(name).database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        return session.execute(text(statement)).scalar_one()
