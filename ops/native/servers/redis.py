"""A private Redis."""

from __future__ import annotations

import json
import shutil
import socket

from ops.native.servers.base import LOOPBACK, Server, ServerError

# In containers too. The append-only file keeps revoked tokens revoked after a crash.
REDIS_BOUNDS = """maxclients 500
maxmemory 64mb
maxmemory-policy volatile-ttl
save ""
appendonly yes
appendfsync everysec
auto-aof-rewrite-min-size 32mb
"""


class Redis(Server):
    """Redis, bounded in memory and kept on disk."""

    name = "redis"
    account = "redis"

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def command(self) -> list[str]:
        program = shutil.which("redis-server")
        if program is None:
            raise ServerError("Redis is not installed")
        return [program, str(self.folder / "redis.conf")]

    def configure(self) -> None:
        self._write(
            self.folder / "redis.conf",
            f"""# Written at every start.
bind {LOOPBACK}
port {self.port}
dir {json.dumps(str(self.folder))}
requirepass {self.password}
daemonize no
set-proc-title no
{REDIS_BOUNDS}""",
        )

    def answers(self) -> bool:
        """PONG, and not an error while the file is still loading."""
        with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
            connection.sendall(f"*2\r\n$4\r\nAUTH\r\n${len(self.password)}\r\n{self.password}\r\nPING\r\n".encode())
            connection.settimeout(1)
            received = b""
            while received.count(b"\r\n") < 2 and (part := connection.recv(256)):
                received += part
        return received == b"+OK\r\n+PONG\r\n"
