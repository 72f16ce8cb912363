"""`python -m tests.benchmarks.relay`: the outbox's relay beside one that publishes and confirms row by row."""

from __future__ import annotations

import os
import statistics
import threading
import time
from uuid import uuid4

import pika
from sqlalchemy import text

from common import messaging, outbox
from common.auth import service_caller
from common.database import ALL_ORGANIZATIONS, Database
from common.events import AuditLog
from common.outbox import record
from common.publishing import Publisher
from common.tasks import Task, TaskRunner
from tests.benchmarks.results import write_section
from tests.support.servers import session_servers
from tests.support.services import ServiceUnderTest

ROWS, PACED = 5000, 300


def fill(database: Database, rows: int) -> None:
    """Put audit events into the outbox."""
    for _ in range(rows // 500):
        with database.transaction(uuid4()) as session:
            for _ in range(500):
                record(session, service_caller("patient"), "test.benchmark", "tests")


def one_by_one(database: Database, url: str) -> float:
    """Rows a second when each is published, confirmed and deleted apart."""
    connection = pika.BlockingConnection(messaging.parameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    started, done = time.perf_counter(), 0
    while done < ROWS // 10:
        with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
            row = session.execute(text("SELECT * FROM outbox ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED")).one()
            properties = pika.BasicProperties(message_id=str(row.message_id), type=row.type, delivery_mode=2)
            channel.basic_publish(row.exchange, row.routing_key, bytes(row.body), properties, mandatory=True)
            session.execute(text("DELETE FROM outbox WHERE id = :id"), {"id": row.id})
        done += 1
    rate = done / (time.perf_counter() - started)
    connection.close()
    return rate


def batches(database: Database, publisher: Publisher) -> float:
    """Rows a second through the relay."""
    with database.transaction(ALL_ORGANIZATIONS) as session:
        rows = session.execute(text("SELECT count(*) FROM outbox")).scalar_one()
    started = time.perf_counter()
    while outbox.relay(database, publisher):
        pass
    return rows / (time.perf_counter() - started)


def delays(database: Database, publisher: Publisher) -> list[float]:
    """Milliseconds from a commit until the relay, woken by NOTIFY, has the broker's confirm."""
    stopping, found = threading.Event(), []
    confirmed = threading.Event()

    def run() -> int:
        done = outbox.relay(database, publisher)
        if done:
            confirmed.set()
        return done

    runner = TaskRunner(database, Task(outbox.WAKE, 2.0, run), run, stopping)
    thread = threading.Thread(target=runner.run)
    thread.start()
    time.sleep(1)
    for _ in range(PACED):
        confirmed.clear()
        with database.transaction(uuid4()) as session:
            record(session, service_caller("patient"), "test.benchmark", "tests")
        committed = time.perf_counter()
        confirmed.wait(5)
        found.append((time.perf_counter() - committed) * 1000)
        time.sleep(0.005)
    stopping.set()
    thread.join()
    return sorted(found)


def main() -> None:
    """Measure and write the section."""
    servers = session_servers()
    os.environ.update(servers.environment, HEARTGUARD_ENV_FILE=os.devnull, LOG_LEVEL="WARNING")
    from common.migrate import main as migrate

    migrate(["patient"])
    database = ServiceUnderTest("patient").database
    publisher = Publisher(servers.rabbitmq.url)
    fill(database, 500)
    batches(database, publisher)
    fill(database, ROWS)
    slow, fast = one_by_one(database, servers.rabbitmq.url), batches(database, publisher)
    times = delays(database, publisher)
    publisher.close()
    p50, p99 = statistics.median(times), times[int(len(times) * 0.99) - 1]
    text_ = f"""Real PostgreSQL (fsync off) and RabbitMQ, quorum queue, persistent audit events of {AuditLog.exchange}.

| measure | figure |
|---|---|
| relay, one by one | {slow:,.0f} rows/s |
| relay, batches of {outbox.BATCH} | {fast:,.0f} rows/s, {fast / slow:.1f} times as fast |
| from commit to confirm, woken by NOTIFY | p50 {p50:.1f} ms, p99 {p99:.1f} ms |"""
    write_section("Outbox relay", text_)
    print(text_)


if __name__ == "__main__":
    main()
