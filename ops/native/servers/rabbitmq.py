"""A private RabbitMQ with its port mapper."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
import socket
from pathlib import Path

from ops.native.servers.base import LOOPBACK, Server, ServerError


class PortMapper(Server):
    """Erlang's epmd on a private loopback port, so that no daemon of ours outlives its broker."""

    name = "epmd"
    account = "rabbitmq"

    def command(self) -> list[str]:
        program = shutil.which("epmd")
        if program is None:
            raise ServerError("Erlang is not installed")
        return [program, "-address", LOOPBACK, "-port", str(self.port)]

    def answers(self) -> bool:
        with socket.create_connection((LOOPBACK, self.port), timeout=1):
            return True


class RabbitMQ(Server):
    """RabbitMQ on loopback alone, with one user and no guest; definitions are applied at each start."""

    name = "rabbitmq"
    account = "rabbitmq"
    user = "heartguard"
    script = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

    def __init__(self, folder: Path, port: int, password: str, *, distribution_port: int, epmd_port: int) -> None:
        super().__init__(folder, port, password)
        self.distribution_port = distribution_port
        self.epmd = PortMapper(folder / "epmd", epmd_port)

    @property
    def url(self) -> str:
        return f"amqp://{self.user}:{self.password}@{LOOPBACK}:{self.port}/%2F"

    def command(self) -> list[str]:
        if not self.script.exists():
            raise ServerError("RabbitMQ is not installed")
        return [str(self.script)]

    def configure(self) -> None:
        salt = secrets.token_bytes(4)
        digest = hashlib.sha256(salt + self.password.encode()).digest()
        definitions = {
            "users": [
                {
                    "name": self.user,
                    "password_hash": base64.b64encode(salt + digest).decode(),
                    "hashing_algorithm": "rabbit_password_hashing_sha256",
                    "tags": "",
                }
            ],
            "vhosts": [{"name": "/"}],
            "permissions": [{"user": self.user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
        }
        self._write(self.folder / "definitions.json", json.dumps(definitions))
        self._write(self.folder / "enabled_plugins", "[].\n")
        self._write(
            self.folder / "rabbitmq.conf",
            f"""# Written at every start.
listeners.tcp.1 = {LOOPBACK}:{self.port}
load_definitions = {self.folder}/definitions.json
vm_memory_high_watermark.absolute = 512MiB
disk_free_limit.absolute = 256MiB
log.file = false
log.console = true
log.console.level = info
""",
        )

    def environment(self) -> dict[str, str]:
        node = self.folder / "node"
        return {
            **super().environment(),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self.epmd.port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(self.folder / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_NODENAME": "heartguard@localhost",
            "RABBITMQ_LOG": "-color",
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2",
            "RABBITMQ_SERVER_START_ARGS": "+B i",
            "RABBITMQ_MNESIA_BASE": str(node),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "config"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(self.folder / "feature_flags"),
            "ERL_CRASH_DUMP": os.devnull,
            "RABBITMQ_PID_FILE": str(self.folder / "broker.pid"),
            "RABBITMQ_MAX_NUMBER_OF_ATOMS": "1048576",
            "detached": "1",  # the script then becomes the broker instead of waiting beside it
        }

    def answers(self) -> bool:
        """The broker's greeting (Connection.Start) follows its listener, which opens last at boot."""
        with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(7)[:1] == b"\x01"

    def launch(self, *, tied: bool = False) -> None:
        self.prepare()
        if not self.epmd.is_running:
            self.epmd.start(tied=tied)
        super().launch(tied=tied)

    def stop(self, timeout: float = 30) -> None:
        super().stop(timeout)
        self.epmd.stop(timeout)
