"""Docker Compose as this suite calls it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ops.native.settings import ROOT, env_file

OLDEST = (2, 24)
DATA = ("postgres", "redis", "rabbitmq")
COMMAND_TIMEOUT_S = 1200


class ComposeError(RuntimeError):
    """Docker or Compose could not do it: the message says why, for people."""


@dataclass(frozen=True)
class Container:
    """One container of the suite, as `docker compose ps` tells."""

    name: str
    service: str
    state: str
    health: str
    exit_code: int

    @property
    def is_done(self) -> bool:
        """Healthy, or a one-shot job that succeeded."""
        return self.health == "healthy" or (self.state == "exited" and self.exit_code == 0)

    @property
    def has_failed(self) -> bool:
        """Ended, given up or unhealthy."""
        return (
            self.health == "unhealthy"
            or self.state in ("dead", "restarting")
            or (self.state == "exited" and self.exit_code != 0)
        )


class Compose:
    """The suite's compose project with the chosen profiles."""

    def __init__(self, profiles: Iterable[str] = (), variables: Mapping[str, str] | None = None) -> None:
        self._profiles = sorted(set(profiles))
        self._environment = {**os.environ, **(variables or {})}

    def command(self, *words: str) -> list[str]:
        """The whole command line."""
        options = [f"--profile={name}" for name in self._profiles]
        if env_file().exists():
            options.append(f"--env-file={env_file()}")
        return ["docker", "compose", *options, *words]

    def run(self, *words: str) -> str:
        """Run to the end; returns standard output. Raises ComposeError with the last lines of what it said."""
        done = subprocess.run(
            self.command(*words),
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            lines = (done.stdout + done.stderr).strip().splitlines()
            raise ComposeError(f"docker compose {words[0]} failed:\n" + "\n".join(lines[-20:]))
        return done.stdout

    def show(self, *words: str) -> int:
        """Run with this terminal; returns the exit status."""
        return subprocess.run(self.command(*words), cwd=ROOT, env=self._environment, check=False).returncode

    def containers(self) -> list[Container]:
        """All containers of the project, ended ones too."""
        return [_container(json.loads(line)) for line in self.run("ps", "--all", "--format=json").splitlines() if line]

    def running(self) -> set[str]:
        """The services of which a container runs."""
        return set(self.counts())

    def counts(self) -> Counter[str]:
        """How many containers of each service run."""
        return Counter(item.service for item in self.containers() if item.state == "running")

    def outdated(self) -> list[Container]:
        """Running containers whose image or configuration is another one now."""
        hashes = dict(line.split() for line in self.run("config", "--hash=*").splitlines())
        running = {item.name: item for item in self.containers() if item.state == "running"}
        found = json.loads(docker("inspect", *running)) if running else []
        images = {facts["Config"]["Image"] for facts in found}
        ids = {name: docker("image", "inspect", "--format={{.Id}}", name).strip() for name in images}
        return [
            item
            for facts in found
            if (item := running[facts["Name"].removeprefix("/")]).service in hashes
            and (
                facts["Image"] != ids[facts["Config"]["Image"]]
                or facts["Config"]["Labels"]["com.docker.compose.config-hash"] != hashes[item.service]
            )
        ]

    def is_present(self) -> bool:
        """True where a container or a volume of the project is there."""
        if self.containers():
            return True
        label = f"label=com.docker.compose.project={self._configuration()['name']}"
        listed = subprocess.run(
            ["docker", "volume", "ls", "--quiet", "--filter", label], capture_output=True, text=True, check=True
        )
        return bool(listed.stdout.strip())

    def users_of(self, secrets: Iterable[str]) -> set[str]:
        """The services that get one of these secrets."""
        wanted = set(secrets)
        services: dict[str, dict[str, Any]] = self._configuration()["services"]
        return {
            name
            for name, facts in services.items()
            if wanted & {secret["source"] for secret in facts.get("secrets", [])}
        }

    def _configuration(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("config", "--format=json"))
        return found


def _container(facts: dict[str, Any]) -> Container:
    return Container(facts["Name"], facts["Service"], facts["State"], facts["Health"], int(facts["ExitCode"]))


def docker(*words: str) -> str:
    """Run Docker itself; returns standard output. Raises ComposeError with the last lines of what it said."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise ComposeError(f"docker {words[0]} failed:\n" + "\n".join(lines[-20:]))
    return done.stdout


def check_engine() -> None:
    """Raises ComposeError when no Docker engine answers or Compose is too old."""
    try:
        engine = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
        compose = subprocess.run(
            ["docker", "compose", "version", "--short"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise ComposeError(
            "docker is not installed: install Docker Engine and its Compose plugin, or use --native"
        ) from None
    except subprocess.TimeoutExpired:
        raise ComposeError("the Docker engine does not answer: systemctl restart docker") from None
    if engine.returncode:
        raise ComposeError("no Docker engine answers: systemctl start docker (are you in the group docker?)")
    version = re.match(r"v?(\d+)\.(\d+)", compose.stdout.strip())
    if compose.returncode or version is None:
        raise ComposeError("the Compose plugin is missing: install docker-compose-plugin")
    if (int(version[1]), int(version[2])) < OLDEST:
        raise ComposeError(f"Compose {version[0]} is too old: {'.'.join(map(str, OLDEST))} or newer is needed")
