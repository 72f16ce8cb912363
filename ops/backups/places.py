"""Where the suite's data is reached: on this machine (native runtime) or in its containers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common.config import ROOT, SERVICES
from common.env_file import EnvFile, EnvFileError
from ops.containers import secret_files
from ops.containers.compose import ComposeError, check_engine
from ops.native import packages, settings
from ops.native.servers.base import ServerError
from ops.native.servers.postgresql import PostgreSQL
from ops.native.state import StartError, claim_state, locked
from ops.native.supervision import Supervisor

# The service of docker-compose.yml that every volume with files is mounted in, and where the object store's is.
VOLUMES = "migrate"
OBJECTS = "/var/lib/heartguard/objects"
READY_TIMEOUT_S = 60


class BackupError(RuntimeError):
    """A backup could not be made or restored: the message says why and what to do."""


@dataclass(frozen=True)
class Command:
    """A program to run, with the secrets it needs in its environment and never on its command line."""

    words: list[str]
    environment: Mapping[str, str] = field(repr=False)

    def start(self, **streams: Any) -> subprocess.Popen[bytes]:
        """Start it at the root of the checkout."""
        return subprocess.Popen(self.words, cwd=ROOT, env=dict(self.environment), **streams)

    def output(self, given: bytes = b"") -> bytes:
        """Run it to its end; raises BackupError with its last words when it fails."""
        done = subprocess.run(
            self.words, cwd=ROOT, env=dict(self.environment), input=given, capture_output=True, check=False
        )
        if done.returncode:
            raise BackupError(f"{self.words[0]} failed: {last_words(done.stderr or done.stdout)}")
        return done.stdout


def last_words(output: bytes) -> str:
    """The end of what a program said."""
    return "\n".join(output.decode(errors="replace").strip().splitlines()[-8:]) or "it said nothing"


class Native:
    """The native runtime: servers and files that `.env` and the state folder name."""

    kind = "native"
    title = "this machine itself"

    def __init__(self) -> None:
        self.runtime = settings.load(settings.env_file(), settings.state_folder())
        self.variables = dict(self.runtime.variables)
        self.env_file = settings.env_file()
        self.database = self.runtime.environment["DATABASE_NAME"]
        if not self.variables.get("POSTGRES_PASSWORD"):
            raise BackupError("POSTGRES_PASSWORD is not set: backup and restore need PostgreSQL's superuser")

    def postgres(self, program: str, *arguments: str) -> Command:
        """A client program of PostgreSQL as its superuser."""
        own = self.runtime.server("postgresql") is not None
        environment = {
            **self.runtime.environment,
            "PGHOST": self.runtime.environment["DATABASE_HOST"],
            "PGPORT": self.runtime.environment["DATABASE_PORT"],
            "PGUSER": "postgres" if own else self.variables.get("POSTGRES_USER", "postgres"),
            "PGPASSWORD": self.variables["POSTGRES_PASSWORD"],
            "PGCONNECT_TIMEOUT": "10",
        }
        return Command([self._program(program), *arguments], environment)

    @staticmethod
    def _program(name: str) -> str:
        folder = PostgreSQL.programs()
        if folder is not None and (folder / name).exists():
            return str(folder / name)
        return shutil.which(name) or name

    def make_roles(self, database: str) -> None:
        """The database, its roles and empty schemas."""
        command = self.postgres("psql")
        Command(["bash", "ops/postgres/init.sh"], {**command.environment, "DATABASE_NAME": database}).output()

    def python(self, service: str, script: str, *arguments: str) -> Command:
        """A script with the code and the settings of a service."""
        return Command([sys.executable, "-c", script, *arguments], self.runtime.environment)

    def files(self, script: str, *arguments: str) -> Command:
        """A script where the services keep their files."""
        return Command([sys.executable, "-c", script, *arguments], self.runtime.environment)

    def keeps(self, kind: str) -> bool:
        """Whether this suite itself keeps files of this kind."""
        if kind == "storage":
            return self.runtime.server("storage") is not None
        return kind != "timeseries" or "INFLUXDB_URL" not in self.variables

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """The suite stopped and held, with PostgreSQL alone running: raises BackupError when it is in use."""
        state = self.runtime.state
        try:
            claim_state(state)
            with locked(state):
                if Supervisor(state).is_alive():
                    raise BackupError("the suite is running: ./stop_services.sh first")
                server = self.runtime.server("postgresql")
                packages.ensure({"postgresql"} if server else set(), self.runtime.logs / "apt.log")
                if server is None:
                    yield
                    return
                server.start(tied=True)
                try:
                    yield
                finally:
                    server.stop()
        except (StartError, packages.MissingPackages, ServerError) as error:
            raise BackupError(str(error)) from error


class Containers:
    """Docker Compose: services and volumes of docker-compose.yml."""

    kind = "docker"
    title = "the containers"
    env_file = ROOT / ".env"

    def __init__(self) -> None:
        self.variables = read_env(self.env_file)
        self.database = self.variables.get("DATABASE_NAME", "heartguard")

    def compose(self, *words: str) -> Command:
        """One command of Docker Compose."""
        return Command(["docker", "compose", *words], os.environ)

    def postgres(self, program: str, *arguments: str) -> Command:
        """A client program inside PostgreSQL's container, through its own socket."""
        user = self.variables.get("POSTGRES_USER", "postgres")
        words = ["exec", "-T", "-e", f"PGUSER={user}", "-e", f"PGDATABASE={self.database}", "postgres"]
        return self.compose(*words, program, *arguments)

    def make_roles(self, database: str) -> None:
        """The database, its roles and empty schemas; the container's own environment holds the passwords."""
        words = ["exec", "-T", "-e", f"DATABASE_NAME={database}", "postgres", "bash", "-s"]
        self.compose(*words).output((ROOT / "ops/postgres/init.sh").read_bytes())

    def python(self, service: str, script: str, *arguments: str) -> Command:
        """A script with the code and the settings of a service, in a fresh container where none runs."""
        where = ["exec", "-T"] if service in self._running() else ["run", "--rm", "-T", "--no-deps"]
        return self.compose(*where, service, "python", "-c", script, *arguments)

    def files(self, script: str, *arguments: str) -> Command:
        """A script where the services keep their files."""
        words = ["run", "--rm", "-T", "--no-deps", "-e", f"STORAGE_FOLDER={OBJECTS}", VOLUMES, "python", "-c"]
        return self.compose(*words, script, *arguments)

    def keeps(self, kind: str) -> bool:
        """Whether this suite itself keeps files of this kind."""
        elsewhere = {"timeseries": "INFLUXDB_URL", "storage": "GCS_BUCKET"}
        return elsewhere.get(kind) not in self.variables

    def _running(self) -> set[str]:
        return set(self.compose("ps", "--services", "--status", "running").output().decode().split())

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Every application stopped, the servers with data running; raises BackupError when applications run."""
        if running := {name.removesuffix("-worker") for name in self._running()} & {*SERVICES, "gateway"}:
            raise BackupError(f"{', '.join(sorted(running))} are running: ./stop_services.sh first")
        secret_files.write(self.variables)  # a new machine has none yet, and a container does not start without its own
        options, servers = [], ["postgres"]
        if urlsplit(self.variables.get("INFLUXDB_URL", "")).hostname == "influxdb":
            options, servers = ["--profile=influxdb"], ["postgres", "influxdb"]
            self.compose(*options, "up", "-d", "--wait", "influxdb").output()
        self.compose("up", "-d", "postgres").output()
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            try:
                self.postgres("pg_isready", "-q").output()
                break
            except BackupError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
        try:
            yield
        finally:
            self.compose(*options, "stop", *servers).output()


def read_env(path: Path) -> dict[str, str]:
    """What `.env` names, overruled by the caller's environment; raises BackupError when it is missing."""
    try:
        return EnvFile(path).values()
    except EnvFileError as error:
        raise BackupError(f"{error} (./start_services.sh makes a new one)") from error


def running_place(chosen: str | None) -> Native | Containers:
    """The place the operator chose; else containers where PostgreSQL's is up, else this machine."""
    if chosen is None and (ROOT / "docker-compose.yml").exists() and shutil.which("docker"):
        done = subprocess.run(["docker", "compose", "ps", "-q", "postgres"], cwd=ROOT, capture_output=True, check=False)
        chosen = "docker" if done.returncode == 0 and done.stdout.strip() else "native"
    return Containers() if chosen == "docker" else Native()


def next_place(chosen: str | None) -> Native | Containers:
    """The place the operator chose; else the one that `./start_services.sh` would start."""
    if chosen is None:
        try:
            check_engine()
            chosen = "docker"
        except ComposeError:
            chosen = "native"
    return Containers() if chosen == "docker" else Native()
