"""A suite of its own for tests of operations: `.env`, state folder, servers, and the services that a test needs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3

from ops.native import runtime, settings
from ops.native.servers.base import ROOT
from ops.native.state import claim_state
from tests.support.operators import environment_of, leave_session
from tests.support.suite import Suite

EMAIL = "admin@heartguard.local"


@dataclass
class House:
    """A suite of its own: `.env`, state folder, servers, and the services that this test needs."""

    folder: Path
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = environment_of(self.folder / "state")
        self.environment |= {"HEARTGUARD_ENV_FILE": str(self.folder / ".env"), "PYTHONPATH": str(ROOT)}
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{self.environment['PATH']}"
        self.environment["BACKUP_FOLDER"] = str(self.folder / "backups")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This process in the environment of the house, as its operator's shell."""
        with pytest.MonkeyPatch.context() as patch:
            leave_session(patch)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield

    def load(self) -> settings.Runtime:
        """What `.env` says now; made when it is missing."""
        with self.entered():
            settings.make_env(self.folder / ".env")
            return settings.load(self.folder / ".env", self.folder / "state")

    @contextmanager
    def servers(self) -> Iterator[settings.Runtime]:
        """PostgreSQL, Redis, RabbitMQ, mail catcher and object store, schemas and queues."""
        loaded = self.load()
        claim_state(loaded.state)
        started = [server for server in loaded.servers if server.name != "epmd"]
        try:
            for server in started:
                server.launch(tied=True)
            for server in started:
                server.wait_ready()
            runtime.prepare_database(loaded)
            runtime.prepare_broker(loaded)
            yield loaded
        finally:
            for server in started:
                server.stop()

    @contextmanager
    def services(
        self, loaded: settings.Runtime, web: tuple[str, ...], workers: tuple[str, ...] = (), **extra: str
    ) -> Iterator[Suite]:
        """Web processes and workers on these servers."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        servers: Any = SimpleNamespace(environment=dict(loaded.environment))
        state = {"TIMESERIES_PATH": str(loaded.state / "timeseries/series.db"), "DATABASE_POOL": "2"}
        suite = Suite(servers, logs, extra={**state, **extra})
        try:
            suite.start_web(*web)
            suite.start_workers(*workers)
            yield suite
        finally:
            suite.stop()

    def run(self, script: str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "ops" / script, *arguments],
            env={**self.environment, **extra},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


class Client:
    """Somebody with a token, in front of the services themselves."""

    def __init__(self, suite: Suite, password: str) -> None:
        self.suite, self.token = suite, ""
        self.pool = urllib3.PoolManager(retries=False, timeout=15)
        answer = self.call("auth", "POST", "/auth/login", {"email": EMAIL, "password": password})
        self.token = answer["data"]["access_token"]

    def call(self, service: str, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        data = None if body is None else json.dumps(body).encode()
        answer = self.pool.request(method, f"{self.suite.url(service)}{path}", body=data, headers=headers)
        assert answer.status < 300, (path, answer.status, answer.data)
        return answer.json() if answer.data else None
