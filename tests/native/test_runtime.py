"""The runtime as an operator meets it: a suite of its own, on private ports, in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import redis
from dotenv import dotenv_values

from ops.native import processes, runtime
from ops.native.servers.base import LOOPBACK, ROOT
from ops.native.settings import load, make_env
from ops.native.state import StartError, claim_state, locked
from tests.support.operators import environment_of

SERVERS = {"postgresql", "redis", "epmd", "rabbitmq", "mail", "storage"}


@dataclass(frozen=True)
class Suite:
    """A checkout without services, so that only the servers run."""

    checkout: Path
    state: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ops.native", *arguments],
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def programs(self) -> dict[str, psutil.Process]:
        found = processes.started_from(self.state)
        return {processes.program_of(process): process for process in sorted(found, key=lambda item: -item.pid)}

    def redis(self) -> redis.Redis:
        password = dotenv_values(self.checkout / ".env")["REDIS_PASSWORD"]
        return redis.Redis(host=LOOPBACK, port=int(self.environment["REDIS_PORT"]), password=password)


@pytest.fixture
def suite(folder: Path) -> Iterator[Suite]:
    checkout = folder / "checkout"
    for part in ("common", "ops"):
        shutil.copytree(ROOT / part, checkout / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".env.example", checkout)
    made = Suite(checkout, folder / "state", environment_of(folder / "state"))
    yield made
    made("stop")
    assert made.programs() == {}


def test_it_starts_recovers_and_stops_without_leaving_a_process(suite: Suite) -> None:
    first = suite("start")
    assert first.returncode == 0, first.stdout + first.stderr
    assert suite.programs().keys() >= SERVERS
    with suite.redis() as client:
        client.set("kept", "yes")

    before = {name: process.pid for name, process in suite.programs().items()}
    again = suite("start")
    assert "nothing was changed" in again.stdout
    assert {name: process.pid for name, process in suite.programs().items()} == before

    suite.programs()["supervisord"].kill()  # its children go on without it
    third = suite("start")
    assert third.returncode == 0, third.stdout + third.stderr
    assert "without its supervisor" in third.stdout
    assert suite.programs()["redis"].pid != before["redis"]

    for process in processes.started_from(suite.state):  # as a power cut does
        with contextlib.suppress(psutil.NoSuchProcess):  # a child that its parent's end took along
            process.send_signal(signal.SIGKILL)
    fourth = suite("start")
    assert fourth.returncode == 0, fourth.stdout + fourth.stderr
    with suite.redis() as client:
        assert client.get("kept") == b"yes"

    suite.programs()["supervisord"].kill()
    assert suite("stop").returncode == 0
    assert processes.started_from(suite.state) == []
    assert (suite.state / "postgresql" / "data").exists()

    assert suite("stop", "--purge").returncode != 0  # nobody to ask, and no --yes
    assert suite.state.exists()
    assert suite("stop", "--purge", "--yes").returncode == 0
    assert not suite.state.exists()
    assert (suite.checkout / ".env").exists()


def test_a_port_that_a_stranger_holds_is_named_with_its_holder(suite: Suite) -> None:
    with socket.socket() as stranger:
        stranger.bind((LOOPBACK, int(suite.environment["REDIS_PORT"])))
        stranger.listen()
        refused = suite("start")
    assert refused.returncode == 1
    assert f"process {os.getpid()}" in refused.stderr
    assert "REDIS_PORT" in refused.stderr
    assert suite.programs() == {}


def test_a_bad_variable_stops_the_start(suite: Suite) -> None:
    suite.environment["GATEWAY_PORT"] = "web"
    refused = suite("start")
    assert refused.returncode == 78
    assert "GATEWAY_PORT" in refused.stderr
    assert suite.programs() == {}


def test_a_folder_with_other_files_is_neither_used_nor_deleted(suite: Suite) -> None:
    suite.state.mkdir()
    (suite.state / "thesis.txt").write_text("mine")
    assert suite("start").returncode == 1
    assert suite("stop", "--purge", "--yes").returncode == 0
    assert (suite.state / "thesis.txt").read_text() == "mine"


def test_two_starts_do_not_run_at_once(folder: Path) -> None:
    claim_state(folder / "state")
    with (
        locked(folder / "state"),
        pytest.raises(StartError, match="under way"),
        locked(folder / "state"),
    ):
        pass


def test_each_service_gets_its_own_password_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_env(folder / ".env")
    monkeypatch.setattr("ops.native.applications.present_services", lambda: ["patient", "auth"])
    found = runtime.applications(load(folder / ".env", folder / "state"))
    assert [program.name for program in found] == ["patient-web", "patient-worker", "auth-web", "auth-worker"]
    hidden = found[0].environment
    assert "PATIENT_DATABASE_PASSWORD" not in hidden
    assert hidden["AUTH_DATABASE_PASSWORD"] == hidden["POSTGRES_PASSWORD"] == ""
    assert hidden["MIGRATIONS_DATABASE_PASSWORD"] == ""
