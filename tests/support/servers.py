"""Real PostgreSQL, Redis, RabbitMQ, mail catcher and object store for a test session, in a temporary folder."""

from __future__ import annotations

import atexit
import functools
import os
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common.config import SERVICES
from ops.native.servers.base import LOOPBACK, ROOT, free_ports
from ops.native.servers.mail import MailCatcher
from ops.native.servers.postgresql import PostgreSQL
from ops.native.servers.rabbitmq import RabbitMQ
from ops.native.servers.redis import Redis
from ops.native.servers.storage import ObjectStore


@dataclass(frozen=True)
class SessionServers:
    postgres: PostgreSQL
    redis: Redis
    rabbitmq: RabbitMQ
    mail: MailCatcher
    environment: dict[str, str]  # every variable a service needs to use these servers


@functools.cache
def session_servers() -> SessionServers:
    """Start the servers at the first call, with schemas and roles made; they end with this process."""
    folder = Path(tempfile.mkdtemp(prefix="heartguard-tests-"))
    folder.chmod(0o711)  # the servers' accounts pass through it
    ports = iter(free_ports(7))
    postgres = PostgreSQL(folder / "postgresql", next(ports), secrets.token_urlsafe(), durable=False)
    redis = Redis(folder / "redis", next(ports), secrets.token_urlsafe())
    rabbitmq = RabbitMQ(
        folder / "rabbitmq",
        next(ports),
        secrets.token_urlsafe(),
        distribution_port=next(ports),
        epmd_port=next(ports),
    )
    mail = MailCatcher(folder / "mail", next(ports), keep=50_000)
    storage = ObjectStore(folder / "storage", next(ports))
    servers = (rabbitmq, postgres, redis, mail, storage)

    def end() -> None:
        for server in servers:
            server.stop()
        shutil.rmtree(folder)

    atexit.register(end)
    for server in servers:
        server.launch(tied=True)
    for server in servers:
        server.wait_ready()
    passwords = {f"{name.upper()}_DATABASE_PASSWORD": secrets.token_urlsafe() for name in (*SERVICES, "migrations")}
    environment = {
        "DATABASE_HOST": LOOPBACK,
        "DATABASE_PORT": str(postgres.port),
        "DATABASE_NAME": postgres.database,
        **passwords,
        "REDIS_URL": redis.url,
        "RABBITMQ_URL": rabbitmq.url,
        "SMTP_HOST": LOOPBACK,
        "SMTP_PORT": str(mail.port),
        "SMTP_FROM": "alertas@heartguard.test",
        "GCS_BUCKET": storage.bucket,
        "GCS_ENDPOINT": storage.url,
        "JWT_SIGNING_KEYS": f"test:{secrets.token_urlsafe(32)}",
        "INTERNAL_SIGNING_KEYS": f"internal:{secrets.token_urlsafe(32)}",
        "AUTH_SECRET_KEYS": f"test:{secrets.token_urlsafe(32)}",
        "TIMESERIES_PATH": str(folder / "timeseries" / "series.db"),
        "AUDIT_SIGNING_KEY": f"audit:{secrets.token_urlsafe(32)}",
        "AUDIT_HEAD_FOLDER": str(folder / "audit-heads"),
    }
    admin = {"PGHOST": LOOPBACK, "PGPORT": str(postgres.port), "PGUSER": "postgres", "PGPASSWORD": postgres.password}
    subprocess.run([ROOT / "ops/postgres/init.sh"], env={**os.environ, **environment, **admin}, check=True)
    return SessionServers(postgres, redis, rabbitmq, mail, environment)
