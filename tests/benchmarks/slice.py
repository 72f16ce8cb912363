"""`python -m tests.benchmarks.slice`: from samples to mailboxes, through real processes.

Prints how long one alarm takes from the write's answer to the mail server's acceptance, and how many alarms a second go
through when many arise at once.
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
from tests.support.servers import session_servers
from tests.support.services import ServiceUnderTest
from tests.support.suite import Suite
from tests.support.ward import Ward, admit, arrived, await_bindings, wait_until, write_samples

WEB = ("auth", "patient", "influx")
WORKERS = ("device", "influx", "inference", "alert", "notification", "audit")
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
            print(f"one alarm at a time, written to delivered, {SINGLE} alarms:")
            p95 = sorted(delays)[int(0.95 * len(delays)) - 1]
            print(f"  p50 {statistics.median(delays):.2f} s   p95 {p95:.2f} s   max {max(delays):.2f} s")
            many = Ward(ward.person, ward.email, ward.streams[SINGLE:])
            started = time.perf_counter()
            write_samples(suite, service, many)
            written = time.perf_counter() - started
            wait_until(suite, lambda: arrived(service, ward))
            total = time.perf_counter() - started
            print(f"{MANY} alarms at once: written in {written:.1f} s, all delivered and audited after {total:.1f} s,")
            print(f"  {MANY / total:.0f} alarms/s")
        finally:
            suite.stop()


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
