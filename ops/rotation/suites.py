"""The running suite whose secrets change: how its programs and servers are told, in each runtime."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from common.config import ROOT
from common.env_file import EnvFile
from ops.backups.places import Command, Containers, Native, running_place
from ops.containers import reloading as containers
from ops.native.servers.base import Server
from ops.native.servers.rabbitmq import RabbitMQ


class RotationError(RuntimeError):
    """A rotation cannot begin or go on: the message says what to do."""


class NativeSuite(Native):
    """The native runtime."""

    def __init__(self, reload: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.env = EnvFile(self.env_file)
        self.reload = reload or self._reload

    def _reload(self) -> None:
        """Restart every program in turn, with what `.env` says now."""
        if subprocess.run([sys.executable, "-m", "ops.native", "reload"], cwd=ROOT, check=False).returncode:
            raise RotationError("the programs could not be restarted: mend that, then give the same command again")

    def redis(self) -> Command:
        """Redis's own client, which reads its commands from its input."""
        self._server("redis", "REDIS_URL")
        port = str(self.runtime.ports["REDIS_PORT"])
        return Command(["redis-cli", "-h", "127.0.0.1", "-p", port, "--no-auth-warning"], os.environ)

    def rabbitmqctl(self, *arguments: str) -> Command:
        """RabbitMQ's own tool."""
        server = self._server("rabbitmq", "RABBITMQ_URL")
        words = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", *arguments]
        if server.run_as:
            words = ["setpriv", f"--reuid={server.run_as}", f"--regid={server.run_as}", "--clear-groups", *words]
        environment = server.environment()
        environment.pop("RABBITMQ_SERVER_START_ARGS")
        return Command(words, environment)

    def rewrite(self, name: str) -> None:
        """A server's configuration with what `.env` says now: after a crash it must come back with that."""
        super().__init__()
        server = self.runtime.server(name)
        assert server is not None
        server.configure()

    def _server(self, name: str, variable: str) -> Server:
        server = self.runtime.server(name)
        if server is None:
            raise RotationError(f"{variable} names your own server: change its password there and in .env, then reload")
        return server


class ContainerSuite(Containers):
    """Docker Compose."""

    def __init__(self) -> None:
        super().__init__()
        self.env = EnvFile(self.env_file)

    def reload(self) -> None:
        """Let every program read its secrets anew."""
        containers.renew_all()

    def redis(self) -> Command:
        """Redis's own client, which reads its commands from its input."""
        return self.compose("exec", "-T", "redis", "redis-cli", "--no-auth-warning")

    def rabbitmqctl(self, *arguments: str) -> Command:
        """RabbitMQ's own tool."""
        return self.compose("exec", "-T", "-u", "rabbitmq", "rabbitmq", "rabbitmqctl", "-q", *arguments)

    def rewrite(self, name: str) -> None:
        """Nothing: `reload` writes the servers' files too."""


Suite = NativeSuite | ContainerSuite
BROKER_USER = RabbitMQ.user


def find_suite() -> Suite:
    """The suite that runs here."""
    return ContainerSuite() if isinstance(running_place(None), Containers) else NativeSuite()
