"""What the gateway's tests stand on: a scriptable service on a raw socket, and a real gateway process."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import redis

from common.config import SERVICES
from common.revocation import Revocations
from ops.native.servers.base import free_ports
from ops.native.servers.redis import Redis

ROOT = Path(__file__).resolve().parents[2]
KEY, INTERNAL_KEY = secrets.token_hex(32), secrets.token_hex(32)
NOBODY = "http://127.0.0.1:9"  # the discard port
READY = b'{"status":"success","data":{"dependencies":{"postgresql":{"state":"up","latency_ms":0.7}}}}'
ORIGIN = "https://admin.example.org"
PATIENT = "/patients/0198b7a2-5c1e-7c44-9a51-3d2f4b6a7c88"
USER = "0198b7a2-0000-7000-8000-000000000001"


def _route(service: str, method: str, path: str, permission: str, rate_class: str, **more: Any) -> dict[str, Any]:
    types = {"patient_id": "uuid", "alert_id": "uuid"}
    defaults = {"max_body": None, "types": {name: kind for name, kind in types.items() if f"{{{name}}}" in path}}
    defaults["repeatable"] = method in ("GET", "POST") and permission != "PUBLIC"
    fixed = {"service": service, "method": method, "path": path, "permission": permission, "rate_class": rate_class}
    return fixed | defaults | more


ROUTES = [
    _route("patient", "GET", "/patients", "patient:read", "read"),
    _route("patient", "POST", "/patients", "patient:write", "write"),
    _route("patient", "GET", "/patients/{patient_id}", "patient:read", "read"),
    _route("patient", "PUT", "/patients/{patient_id}", "patient:write", "write"),
    _route("patient", "DELETE", "/patients/{patient_id}", "patient:write", "write"),
    _route("patient", "GET", "/patients/{patient_id}/export", "patient:read", "read", stream=True),
    _route("alert", "POST", "/alerts/{alert_id}/ack", "alert:ack", "ack"),
    _route("media", "POST", "/media", "media:write", "write", stream=True, max_body=64 * 1024 * 1024),
    _route("media", "GET", "/media/{name}", "media:read", "read", stream=True),
    _route("auth", "POST", "/auth/login", "PUBLIC", "login"),
    _route("auth", "POST", "/auth/switch-organization", "AUTHENTICATED", "login", revokes_token=True),
    _route("auth", "GET", "/auth/me", "AUTHENTICATED", "read"),
    _route("auth", "GET", "/internal/revocations/{token_id}", "INTERNAL", "read"),
    _route("device", "GET", "/devices", "device:read", "read"),
    _route("device", "POST", "/devices", "device:write", "write"),
    _route("audit", "GET", "/audit/logs", "audit:read", "read"),
]
PERMISSIONS = sorted({route["permission"] for route in ROUTES if ":" in route["permission"]})


@dataclass
class Received:
    """One request as the service saw it; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    lines: list[str]
    body: bytes
    connection: int


Behaviour = Callable[[socket.socket, Received], bool]


def answer(body: bytes = b"{}", status: str = "200 OK", headers: tuple[str, ...] = ()) -> Behaviour:
    """A proper keep-alive answer."""

    def act(peer: socket.socket, request: Received) -> bool:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        peer.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if request.method == "HEAD" else body))
        return True

    return act


def raw(data: bytes, *, then_close: bool = True, pause: float = 0.0) -> Behaviour:
    """Any bytes at all."""

    def act(peer: socket.socket, _request: Received) -> bool:
        if pause:
            time.sleep(pause)
        peer.sendall(data)
        return not then_close

    return act


class Service:
    """An HTTP service on a raw socket that answers as a test says and remembers what it was asked."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self.behave: Behaviour = answer()
        self.received: list[Received] = []
        self.ready_status = "200 OK"
        self._connections = 0
        self._listener = socket.create_server((address, port), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> None:
        self.behave, self.ready_status = answer(), "200 OK"
        self.received.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._connections += 1
            threading.Thread(target=self._serve, args=(peer, self._connections), daemon=True).start()

    def _serve(self, peer: socket.socket, number: int) -> None:
        with peer, peer.makefile("rb") as stream:
            try:
                while (head := stream.readline()) and self._handle(peer, stream, head, number):
                    pass
            except OSError:
                return  # the gateway hung up, as some tests want

    def _handle(self, peer: socket.socket, stream: Any, head: bytes, number: int) -> bool:
        method, target, _ = head.decode("latin-1").split(" ", 2)
        lines, headers = [], {}
        while (line := stream.readline().decode("latin-1").rstrip("\r\n")) != "":
            lines.append(line)
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))
        request = Received(method, target, headers, lines, body, number)
        if target == "/ready":
            return answer(READY, self.ready_status)(peer, request)
        self.received.append(request)
        return self.behave(peer, request)


def token(key: str = KEY, algorithm: str = "HS256", kid: str = "test", **claims: Any) -> str:
    """An access token; a claim of None is left out."""
    now = time.time()
    payload = {
        "sub": USER,
        "aud": "heartguard",
        "iss": "heartguard",
        "iat": now,
        "exp": int(now) + 600,
        "jti": secrets.token_hex(8),
        "typ": "access",
        "sid": secrets.token_hex(8),
        "roles": ["clinician"],
        "permissions": PERMISSIONS,
    }
    payload = {name: value for name, value in (payload | claims).items() if value is not None}
    return jwt.encode(payload, key, algorithm, headers={"kid": kid})


def bearer(**claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(**claims)}"}


def environment(folder: Path, redis_url: str, services: dict[str, int], **more: str) -> dict[str, str]:
    """The gateway's settings for a test."""
    routes = folder / "routes.json"
    routes.write_text(json.dumps(ROUTES))
    return {
        "HEARTGUARD_ENV_FILE": os.devnull,
        "REDIS_URL": redis_url,
        "JWT_SIGNING_KEYS": f"test:{KEY}",
        "INTERNAL_SIGNING_KEYS": f"internal:{INTERNAL_KEY}",
        "GATEWAY_ROUTES_FILE": str(routes),
        "CORS_ALLOWED_ORIGINS": ORIGIN,
        **{f"{name.upper()}_URL": NOBODY for name in SERVICES},  # a suite may run on this machine
        **{f"{name.upper()}_URL": f"http://127.0.0.1:{port}" for name, port in services.items()},
        **more,
    }


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def error_id(self) -> str:
        return json.loads(self.body)["error"]["id"]


@dataclass
class Gateway:
    """A real gateway process under granian."""

    folder: Path
    environment: dict[str, str]
    port: int = field(default_factory=lambda: free_ports(1)[0])
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Gateway:
        variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.serve"],
                cwd=ROOT,
                env={**variables, **self.environment, "GATEWAY_PORT": str(self.port)},
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                if self.ask("GET", "/health").status == 200:
                    return self
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise AssertionError(self.log_file.read_text())

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(15)

    @property
    def log_file(self) -> Path:
        return self.folder / f"gateway-{self.port}.log"

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """The structured log lines of one event so far."""
        lines = [line for line in self.log_file.read_text().splitlines() if line.startswith("{")]
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    def connect(self, timeout: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, target, body, headers or {})
            given = connection.getresponse()
            return Answer(given.status, given.headers, given.read())
        finally:
            connection.close()

    def send_raw(self, data: bytes, wait: float = 3.0) -> bytes:
        """Send bytes and read until the gateway closes or is silent."""
        with self.connect(wait) as peer:
            peer.sendall(data)
            received = b""
            try:
                while chunk := peer.recv(65536):
                    received += chunk
            except TimeoutError:
                pass  # kept alive: what came is the answer
            return received


@contextmanager
def private_redis() -> Iterator[Redis]:
    """A Redis of one's own, in a folder that its account may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="heartguard-gateway-"))
    folder.chmod(0o711)
    server = Redis(folder / "redis", free_ports(1)[0], secrets.token_urlsafe())
    try:
        server.start(tied=True)
        with redis.Redis.from_url(server.url) as client:
            Revocations(client).mark_complete()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
