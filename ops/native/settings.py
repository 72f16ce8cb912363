"""The suite's `.env`: made with fresh secrets when missing, checked, and completed for the native runtime."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values

from common.config import SERVICE_PORTS, SERVICES
from ops.native.servers.base import LOOPBACK, ROOT, Server
from ops.native.servers.mail import MailCatcher
from ops.native.servers.postgresql import PostgreSQL
from ops.native.servers.rabbitmq import RabbitMQ
from ops.native.servers.redis import Redis
from ops.native.servers.storage import ObjectStore

EXAMPLE = ROOT / ".env.example"
PORT_DEFAULTS = {
    **{f"{name.upper()}_PORT": port for name, port in SERVICE_PORTS.items()},
    "DATABASE_PORT": 15432,
    "REDIS_PORT": 16379,
    "RABBITMQ_PORT": 15670,
    "RABBITMQ_DISTRIBUTION_PORT": 15671,
    "RABBITMQ_EPMD_PORT": 15669,
    "SMTP_PORT": 11025,
    "STORAGE_PORT": 14443,
}
PASSWORDS = (
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "RABBITMQ_PASSWORD",
    "MIGRATIONS_DATABASE_PASSWORD",
    *(f"{name.upper()}_DATABASE_PASSWORD" for name in SERVICES),
)
SIGNING_KEYS = ("JWT_SIGNING_KEYS", "INTERNAL_SIGNING_KEYS", "AUTH_SECRET_KEYS", "AUDIT_SIGNING_KEY")
EXISTING_SERVER = {
    "POSTGRES_PASSWORD": "DATABASE_HOST",
    "REDIS_PASSWORD": "REDIS_URL",
    "RABBITMQ_PASSWORD": "RABBITMQ_URL",
}
MARKER = re.compile(r"\bgenerate\b")
PASSWORD = re.compile(r"[A-Za-z0-9._~-]{16,}")  # goes into URLs and configuration files as it is
MIN_SIGNING_KEY_BYTES = 32


class SettingsError(ValueError):
    """Variables are missing or malformed: one line each."""


@dataclass(frozen=True)
class Runtime:
    """Where this suite lives, which servers it runs itself, and the environment of its processes."""

    state: Path
    variables: Mapping[str, str]  # documented variables in force: `.env`, then the caller's environment
    ports: Mapping[str, int]
    servers: tuple[Server, ...]
    environment: Mapping[str, str] = field(repr=False)
    addresses: Mapping[str, str] = field(repr=False, default_factory=dict)  # where the servers and services listen

    @property
    def settings_file(self) -> Path:
        """What the programs read when they start: kept by `write_settings`, so that a reload can change it."""
        return self.state / "settings.env"

    def supervised_environment(self) -> dict[str, str]:
        """What supervisord passes on for as long as it runs: nothing that the settings file says."""
        kept = {name: value for name, value in self.environment.items() if name not in self._settings()}
        return {**kept, "HEARTGUARD_ENV_FILE": str(self.settings_file)}

    def write_settings(self) -> None:
        """Put the variables in force where the programs read them when they start."""
        draft = self.settings_file.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            for name, value in sorted(self._settings().items()):
                escaped = value.replace("\\", "\\\\").replace("'", "\\'")
                file.write(f"{name}='{escaped}'\n")
        draft.rename(self.settings_file)

    def _settings(self) -> dict[str, str]:
        settled = {"HEARTGUARD_STATE", "HEARTGUARD_ENV_FILE", "HEARTGUARD_FAILPOINTS"}  # read before any file
        return {name: value for name, value in {**self.variables, **self.addresses}.items() if name not in settled}

    @property
    def logs(self) -> Path:
        return self.state / "log"

    def port(self, service: str) -> int:
        return self.ports[f"{service.upper()}_PORT"]

    def server(self, name: str) -> Server | None:
        return next((server for server in self.servers if server.name == name), None)


def state_folder() -> Path:
    """`HEARTGUARD_STATE`, else /var/lib/heartguard for root, else the user's state folder."""
    if chosen := os.environ.get("HEARTGUARD_STATE"):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/heartguard")
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(base).absolute() / "heartguard"


def env_file() -> Path:
    """`HEARTGUARD_ENV_FILE`, else .env at the root of the checkout."""
    return Path(os.environ.get("HEARTGUARD_ENV_FILE", ROOT / ".env")).absolute()


def make_env(path: Path, example: Path = EXAMPLE) -> bool:
    """Write `path` from the example with a fresh secret for each `generate`; False when it exists already."""
    if path.exists():
        return False
    lines = [
        line if line.startswith("#") else MARKER.sub(lambda _: secrets.token_urlsafe(32), line)
        for line in example.read_text().splitlines(keepends=True)
    ]
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(lines)
    draft.rename(path)
    return True


def documented_names(example: Path = EXAMPLE) -> set[str]:
    """Every variable the example documents, commented out or not."""
    return set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", example.read_text(), re.MULTILINE))


def read_variables(path: Path) -> dict[str, str]:
    """What `.env` says, overruled by the caller's environment; empty means unset."""
    values = {**dotenv_values(path, interpolate=False)}
    names = documented_names() | values.keys() | PORT_DEFAULTS.keys()
    names |= {name for name in os.environ if name.startswith("HEARTGUARD_")}
    values.update({name: os.environ[name] for name in names if name in os.environ})
    return {name: value for name, value in values.items() if value}


def problems_of(variables: Mapping[str, str]) -> list[str]:
    """One line for each variable that is missing or malformed; never its value."""
    found = []
    for name in PASSWORDS:
        value = variables.get(name, "")
        if EXISTING_SERVER.get(name) in variables:
            continue  # ours to make only for a server of ours
        if not value:
            found.append(f"{name}: missing (see .env.example)")
        elif not PASSWORD.fullmatch(value):
            found.append(f"{name}: at least 16 letters, digits or . _ ~ -")
    for name in PORT_DEFAULTS:
        value = variables.get(name, "1")
        if not (value.isascii() and value.isdigit() and 1 <= int(value) <= 65535):
            found.append(f"{name}: a port number from 1 to 65535")
    base = variables.get("WORKER_METRICS_BASE_PORT", "1024")
    if not (base.isascii() and base.isdigit() and 1024 <= int(base) <= 65000):
        found.append("WORKER_METRICS_BASE_PORT: a port number from 1024 to 65000")
    for name, schemes in {"REDIS_URL": ("redis", "rediss"), "RABBITMQ_URL": ("amqp", "amqps")}.items():
        if name in variables and urlsplit(variables[name]).scheme not in schemes:
            found.append(f"{name}: an address that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    for name in SIGNING_KEYS:
        if name == "JWT_SIGNING_KEYS" and variables.get("JWT_ALGORITHM", "HS256") != "HS256":
            continue  # key pairs, which the services check
        keys = [key.strip().partition(":") for key in variables.get(name, "").split(",")]
        if not all(kid and len(secret.encode()) >= MIN_SIGNING_KEY_BYTES for kid, _, secret in keys):
            found.append(f"{name}: kid:secret[,kid:secret], secrets of {MIN_SIGNING_KEY_BYTES} bytes or more")
    return found


def load(path: Path, state: Path) -> Runtime:
    """Read and check the variables; raises SettingsError naming every bad one."""
    variables = read_variables(path)
    if problems := problems_of(variables):
        raise SettingsError("\n".join(f"{path.name}: {problem}" for problem in problems))
    ports = {name: int(variables.get(name, default)) for name, default in PORT_DEFAULTS.items()}
    taken: dict[int, str] = {}
    for name, port in ports.items():
        if port in taken:
            raise SettingsError(f"{path.name}: {taken[port]} and {name} are both {port}")
        taken[port] = name

    servers: list[Server] = []
    addresses = {f"{name.upper()}_PORT": str(ports[f"{name.upper()}_PORT"]) for name in SERVICE_PORTS}
    addresses["DATABASE_NAME"] = variables.get("DATABASE_NAME", "heartguard")
    if "DATABASE_HOST" in variables:
        addresses["DATABASE_PORT"] = variables.get("DATABASE_PORT", "5432")
    else:
        postgresql = PostgreSQL(
            state / "postgresql",
            ports["DATABASE_PORT"],
            variables["POSTGRES_PASSWORD"],
            database=addresses["DATABASE_NAME"],
        )
        servers.append(postgresql)
        addresses |= {"DATABASE_HOST": LOOPBACK, "DATABASE_PORT": str(postgresql.port)}
    if "REDIS_URL" not in variables:
        redis = Redis(state / "redis", ports["REDIS_PORT"], variables["REDIS_PASSWORD"])
        servers.append(redis)
        addresses["REDIS_URL"] = redis.url
    if "RABBITMQ_URL" not in variables:
        rabbitmq = RabbitMQ(
            state / "rabbitmq",
            ports["RABBITMQ_PORT"],
            variables["RABBITMQ_PASSWORD"],
            distribution_port=ports["RABBITMQ_DISTRIBUTION_PORT"],
            epmd_port=ports["RABBITMQ_EPMD_PORT"],
        )
        servers += [rabbitmq.epmd, rabbitmq]
        addresses["RABBITMQ_URL"] = rabbitmq.url
    if "SMTP_HOST" not in variables:
        mail = MailCatcher(state / "mail", ports["SMTP_PORT"])
        servers.append(mail)
        addresses |= {"SMTP_HOST": LOOPBACK, "SMTP_PORT": str(mail.port)}
    if "GCS_BUCKET" not in variables:
        storage = ObjectStore(state / "storage", ports["STORAGE_PORT"])
        servers.append(storage)
        addresses |= {"GCS_BUCKET": storage.bucket, "GCS_ENDPOINT": storage.url, "GCS_PUBLIC_ENDPOINT": storage.url}

    environment = {
        **os.environ,
        **variables,
        **addresses,
        "HEARTGUARD_STATE": str(state),
        "HEARTGUARD_ENV_FILE": str(path),
        "PYTHONUNBUFFERED": "1",
    }
    return Runtime(state, variables, ports, tuple(servers), environment, addresses)
