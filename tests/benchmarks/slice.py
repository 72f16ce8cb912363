"""`python -m tests.benchmarks.slice`: from samples to mailboxes, through real processes.

Measures how long one alarm takes from the write's answer to the mail server's acceptance, and how many alarms and
events a second go through when many arise at once; writes its section of RESULTS.md.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS
from tests.benchmarks.results import write_section
from tests.support.servers import session_servers
from tests.support.services import ServiceUnderTest
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

SINGLE, MANY = 20, int(os.environ.get("SLICE_ALARMS", "300"))


def main() -> None:
    """Run both measurements and print them."""
    servers = session_servers()
    os.environ.update(servers.environment, HEARTGUARD_ENV_FILE=os.devnull, LOG_LEVEL="WARNING")
    from common.migrate import main as migrate

    migrate([])
    made: dict[str, ServiceUnderTest] = {}

    def service(name: str) -> ServiceUnderTest:
        if name not in made:
            made[name] = ServiceUnderTest(name)
        return made[name]

    with tempfile.TemporaryDirectory() as folder:
        suite = Suite(servers, Path(folder))
        try:
            suite.start_web(*WEB)
            suite.start_workers(*WORKERS)
            ward = admit(service, SINGLE + MANY)
            await_bindings(suite, service, ward)
            delays = [one_alarm(suite, service, ward, index) for index in range(SINGLE)]
            many = Ward(ward.person, ward.email, ward.streams[SINGLE:])
            before = audited(service, ward)
            started = time.perf_counter()
            write_samples(suite, service, many)
            written = time.perf_counter() - started
            wait_until(suite, lambda: arrived(service, ward))
            total = time.perf_counter() - started
            events = audited(service, ward) - before
        finally:
            suite.stop()
    p50 = statistics.median(delays)
    p95 = sorted(delays)[int(0.95 * len(delays)) - 1]
    alarms = MANY * len(ALERT_TYPES)
    write_section(
        "From sample to mailbox",
        f"""Real PostgreSQL, RabbitMQ, Redis and SMTP (fsync off), web processes and workers, all on the same two cores.

| measure | figure |
|---|---|
| one alarm, from the answer to the write until the mail server has it | p50 {p50:.2f} s, p95 {p95:.2f} s |
| {MANY} streams alarm at once ({alarms} alarms): samples written | {written:.1f} s |
| the same: all delivered by e-mail and audited | {total:.1f} s, {alarms / total:.1f} alarms/s |
| the same: audited events | {events} events, {events / total:.0f} events/s |""",
    )


def audited(service, ward: Ward) -> int:
    """How many events of the ward the audit trail holds."""
    return scalar(service, "audit", text("SELECT count(*) FROM audit_logs WHERE org_id = :org"), ward)


def one_alarm(suite: Suite, service, ward: Ward, index: int) -> float:
    """Seconds from the answer to the write until the alarm's mail was accepted by the mail server."""
    stream, _ = ward.streams[index]
    write_samples(suite, service, Ward(ward.person, ward.email, [ward.streams[index]]))
    written = datetime.now(UTC)
    alert = text("SELECT id FROM alerts WHERE stream_id = :stream AND type = 'DESAT'")
    sent = text(
        "SELECT sent_at FROM alert_delivery WHERE alert_id = :alert AND channel = 'EMAIL' AND sent_at IS NOT NULL"
    )
    deadline = time.monotonic() + 30
    alert_id = sent_at = None
    while sent_at is None:
        assert time.monotonic() < deadline, "the alarm did not arrive within 30 s"
        time.sleep(0.02)
        if alert_id is None:
            with service("alert").database.transaction(ALL_ORGANIZATIONS) as session:
                alert_id = session.execute(alert, {"stream": stream}).scalar()
        else:
            with service("notification").database.transaction(ALL_ORGANIZATIONS) as session:
                sent_at = session.execute(sent, {"alert": alert_id}).scalar()
    return (sent_at - written).total_seconds()


if __name__ == "__main__":
    main()
