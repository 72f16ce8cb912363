"""The private servers are real here: started, asked, killed and stopped."""

from __future__ import annotations

import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pika
import psutil
import psycopg2
import pytest
import redis as redis_client
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from ops.native.servers.base import LOOPBACK, Server, ServerError, free_ports
from ops.native.servers.mail import MailCatcher
from ops.native.servers.postgresql import PostgreSQL
from ops.native.servers.rabbitmq import RabbitMQ
from ops.native.servers.redis import Redis
from ops.native.servers.storage import ObjectStore

SECRET = "a-secret-of-this-test"


@pytest.fixture
def running() -> Iterator[list[Server]]:
    """Servers put in here are stopped, however the test ends."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.stop()


def family(server: Server) -> list[psutil.Process]:
    process = psutil.Process(server.pid)
    return [process, *process.children(recursive=True)]


def assert_gone(members: list[psutil.Process], *ports: int) -> None:
    assert psutil.wait_procs(members, timeout=10)[1] == []
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, port), timeout=1).close()


def listening_addresses(server: Server) -> set[str]:
    return {
        connection.laddr.ip
        for connection in psutil.Process(server.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_postgresql_keeps_committed_rows_through_a_crash(folder: Path, running: list[Server]) -> None:
    server = PostgreSQL(folder / "postgresql", free_ports(1)[0], SECRET)
    running.append(server)
    server.start(tied=True)

    def connect(password: str) -> psycopg2.extensions.connection:
        return psycopg2.connect(host=LOOPBACK, port=server.port, user="postgres", password=password, dbname="postgres")

    connection = connect(SECRET)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE beats AS SELECT 72 AS rate")
    connection.close()
    assert listening_addresses(server) == {LOOPBACK}
    server.kill()

    server.password = "another-secret-after-the-crash"
    server.start(tied=True)
    connection = connect(server.password)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT rate FROM beats")
        assert cursor.fetchall() == [(72,)]
    connection.close()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect(SECRET)

    members = family(server)
    server.stop()
    assert_gone(members, server.port)


def test_postgresql_starts_although_another_process_wears_its_old_pid(folder: Path, running: list[Server]) -> None:
    server = PostgreSQL(folder / "postgresql", free_ports(1)[0], SECRET, durable=False)
    running.append(server)
    server.start(tied=True)
    lock = server.data / "postmaster.pid"
    left = lock.read_text().splitlines()
    server.kill()

    account = {"user": server.run_as} if server.run_as else {}
    with subprocess.Popen(["sleep", "60"], cwd="/", **account) as stranger:
        lock.write_text("\n".join([str(stranger.pid), *left[1:]]) + "\n")
        try:
            server.start(tied=True)
            assert server.is_ready()
        finally:
            stranger.kill()


def test_postgresql_refuses_to_touch_data_that_is_in_use(folder: Path, running: list[Server]) -> None:
    server = PostgreSQL(folder / "postgresql", free_ports(1)[0], SECRET, durable=False)
    running.append(server)
    server.start(tied=True)
    with pytest.raises(ServerError, match="running already"):
        PostgreSQL(folder / "postgresql", server.port, SECRET).start()
    assert server.is_ready()


def test_redis_keeps_revocations_through_a_crash(folder: Path, running: list[Server]) -> None:
    server = Redis(folder / "redis", free_ports(1)[0], SECRET)
    running.append(server)
    server.start(tied=True)
    with redis_client.Redis.from_url(server.url) as client:
        client.set("revoked:1", "yes", ex=900)
    assert listening_addresses(server) == {LOOPBACK}
    server.kill()
    server.start(tied=True)
    with redis_client.Redis.from_url(server.url) as client:
        assert client.get("revoked:1") == b"yes"
        assert 0 < int(client.config_get("maxmemory")["maxmemory"]) <= 256 * 2**20
    with (
        redis_client.Redis(host=LOOPBACK, port=server.port) as stranger,
        pytest.raises(redis_client.AuthenticationError),
    ):
        stranger.ping()

    members = family(server)
    server.stop()
    assert_gone(members, server.port)


def test_rabbitmq_keeps_persistent_messages_through_a_crash(folder: Path, running: list[Server]) -> None:
    port, distribution_port, epmd_port = free_ports(3)
    server = RabbitMQ(folder / "rabbitmq", port, SECRET, distribution_port=distribution_port, epmd_port=epmd_port)
    running.append(server)
    server.start(tied=True)
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        channel = connection.channel()
        channel.queue_declare("alarms", durable=True, arguments={"x-queue-type": "quorum"})
        # A quorum queue whose broker dies within a second of the declaration never elects a leader again (3.10
        # writes the term lazily), so the queue must be older than that.
        connection.sleep(2)
        channel.confirm_delivery()
        channel.basic_publish("", "alarms", b"one", pika.BasicProperties(delivery_mode=2))
    assert listening_addresses(server) == {LOOPBACK}
    assert listening_addresses(server.epmd) <= {LOOPBACK, "::1"}
    server.kill()

    server.password = "another-secret-after-the-crash"
    server.start(tied=True)
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        assert connection.channel().basic_get("alarms", auto_ack=True)[2] == b"one"
    for user, password in (("guest", "guest"), (server.user, SECRET)):
        address = f"amqp://{user}:{password}@{LOOPBACK}:{port}/%2F"
        with pytest.raises(pika.exceptions.ProbableAuthenticationError):
            pika.BlockingConnection(pika.URLParameters(address))

    members = family(server) + family(server.epmd)
    server.stop()
    assert_gone(members, port, distribution_port, epmd_port)


def test_mail_catcher_keeps_messages_through_a_crash(folder: Path, running: list[Server]) -> None:
    server = MailCatcher(folder / "mail", free_ports(1)[0])
    running.append(server)
    server.start(tied=True)
    with smtplib.SMTP(LOOPBACK, server.port) as client:
        client.sendmail("from@x", ["to@x"], "Subject: Alarma\n\nArritmia, nivel alto\n")
    server.kill()
    server.start(tied=True)
    (message,) = server.messages()
    assert (message["Subject"], message["X-Envelope-To"]) == ("Alarma", "to@x")
    assert message.get_content().strip() == "Arritmia, nivel alto"
    assert listening_addresses(server) == {LOOPBACK}

    members = family(server)
    server.stop()
    assert_gone(members, server.port)


def test_object_store_keeps_files_through_a_crash(folder: Path, running: list[Server]) -> None:
    server = ObjectStore(folder / "storage", free_ports(1)[0])
    running.append(server)
    server.start(tied=True)
    options = {"api_endpoint": server.url}
    with storage.Client(project="test", credentials=AnonymousCredentials(), client_options=options) as client:
        client.create_bucket(server.bucket).blob("scan").upload_from_string(b"bytes", content_type="image/png")
        server.kill()
        server.start(tied=True)
        kept = client.bucket(server.bucket).get_blob("scan", retry=None)
        assert (kept.content_type, kept.download_as_bytes(retry=None)) == ("image/png", b"bytes")
    assert listening_addresses(server) == {LOOPBACK}

    members = family(server)
    server.stop()
    assert_gone(members, server.port)


def test_servers_end_with_the_process_that_they_are_tied_to(folder: Path) -> None:
    """A test run that is killed leaves no server behind."""
    port = free_ports(1)[0]
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom ops.native.servers.redis import Redis\n"
        f"server = Redis(Path({str(folder)!r}) / 'redis', {port}, {SECRET!r})\n"
        "server.start(tied=True)\nprint(server.pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        server = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
    server.wait(10)


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        server = Redis(folder / "redis", taken.getsockname()[1], SECRET)
        with pytest.raises(ServerError, match="Address already in use"):
            server.start(tied=True)
        server.stop()
