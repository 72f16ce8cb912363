"""What stands between the suite and its machine: systemd's units, and nginx with TLS against slow clients."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ops.native.servers.base import LOOPBACK, ROOT, free_ports

UNITS = sorted((ROOT / "ops/systemd").iterdir())
HOST = "heartguard.example.org"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
@pytest.mark.parametrize("mode", ["native", "docker"])
def test_systemd_understands_the_units(tmp_path: Path, mode: str) -> None:
    for unit in UNITS:
        text = unit.read_text().replace("/opt/heartguard", str(ROOT))
        (tmp_path / unit.name.replace("@", f"@{mode}" if "@" in unit.name else "@")).write_text(text)
    found = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *found], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "heartguard" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_the_units_call_what_is_there() -> None:
    for unit in UNITS:
        for line in unit.read_text().splitlines():
            name, _, command = line.partition("=")
            if name.startswith("Exec"):
                program = ROOT / Path(command.split()[0]).relative_to("/opt/heartguard")
                assert os.access(program, os.X_OK), line


@dataclass
class Gateway:
    """Stands where the gateway stands and writes down what reaches it."""

    port: int
    requests: list[tuple[str, dict[str, str], int]] = field(default_factory=list)
    connections: int = 0
    away: threading.Event = field(default_factory=threading.Event)

    sockets: list[socket.socket] = field(default_factory=list)
    server: ThreadingHTTPServer | None = None

    def serve(self) -> None:
        seen = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                seen.connections += 1
                seen.sockets.append(self.request)
                super().setup()

            def answer(self) -> None:
                if seen.away.is_set():  # as behind Docker's proxy: accepted, and closed without a word
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                seen.requests.append((self.path, dict(self.headers.items()), len(body)))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            do_GET = do_POST = answer

            def log_message(self, *_: object) -> None:
                """Silent."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

        self.server = Server((LOOPBACK, self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        assert self.server is not None
        self.server.shutdown()
        self.server.server_close()
        for kept in self.sockets:
            with suppress(OSError):
                kept.shutdown(socket.SHUT_RDWR)
        self.sockets.clear()


@dataclass
class Front:
    """nginx with the example's own configuration, but for ports and places."""

    gateway: Gateway
    stand_in: Gateway
    port: int
    plain: int
    trust: ssl.SSLContext

    def connect(self) -> ssl.SSLSocket:
        return self.trust.wrap_socket(socket.create_connection((LOOPBACK, self.port), 10), server_hostname=HOST)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
        with self.connect() as connection:
            lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", "Connection: close"]
            lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            lines += [f"Content-Length: {len(body)}"] if body is not None else []
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            if body:
                connection.sendall(body)
            answer = http.client.HTTPResponse(connection, method=method)
            answer.begin()
            answer.read()
            return answer


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("nginx")
    port, plain, behind, beside = free_ports(4)
    certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    request += ["-days", "1", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    subprocess.run([*request, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    text = (ROOT / "ops/nginx/heartguard.conf").read_text()
    for old, new in {
        "listen [::]:80;\n": "\n",
        "listen [::]:443 ssl http2;\n": "\n",
        "listen 80;": f"listen {LOOPBACK}:{plain};",
        "listen 443 ": f"listen {LOOPBACK}:{port} ",
        "127.0.0.1:5000 ": f"{LOOPBACK}:{behind} ",
        "127.0.0.1:5012 ": f"{LOOPBACK}:{beside} ",
        "/etc/ssl/heartguard/fullchain.pem": str(certificate),
        "/etc/ssl/heartguard/privkey.pem": str(key),
        "/var/log/nginx/": f"{folder}/",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "heartguard.conf").write_text(text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(
        ("user root;\n" if os.geteuid() == 0 else "")
        + f"daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        + f"events {{}}\nhttp {{\n{paths}\ninclude {folder}/heartguard.conf;\n}}\n"
    )
    words = [str(NGINX), "-c", str(folder / "nginx.conf"), "-e", str(folder / "start.log")]
    checked = subprocess.run([*words, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    gateway = Gateway(behind)
    gateway.serve()
    process = subprocess.Popen(words)
    try:
        trust = ssl.create_default_context(cafile=str(certificate))
        made = Front(gateway, Gateway(beside), port, plain, trust)
        patience = time.monotonic() + 10
        while True:
            try:
                made.connect().close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < patience, (folder / "error.log").read_text()
                time.sleep(0.05)
        yield made
    finally:
        process.terminate()
        process.wait(10)
        gateway.stop()


@needs_nginx
def test_slow_clients_never_reach_the_gateway_until_they_have_said_all(front: Front) -> None:
    body, before = b"x" * 50_000, len(front.gateway.requests)
    head = f"POST /patients HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with ExitStack() as ends:
        slow = [ends.enter_context(front.connect()) for _ in range(40)]
        for number, connection in enumerate(slow):
            connection.sendall(head[:-2] if number % 2 else head + body[: len(body) // 2])
        time.sleep(0.3)
        connections = front.gateway.connections
        assert front.ask("GET", "/patients").status == 200  # others are served meanwhile
        assert len(front.gateway.requests) == before + 1
        assert front.gateway.connections <= connections + 1  # and the slow ones hold not even a connection
        for number, connection in enumerate(slow):
            connection.sendall(b"\r\n" + body if number % 2 else body[len(body) // 2 :])
        for connection in slow:
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
    assert [size for _, _, size in front.gateway.requests[before + 1 :]] == [len(body)] * 40


@needs_nginx
def test_old_tls_is_refused_and_plain_http_is_sent_on(front: Front) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError), socket.create_connection((LOOPBACK, front.port), 10) as plain:
        old.wrap_socket(plain, server_hostname=HOST)
    connection = http.client.HTTPConnection(LOOPBACK, front.plain, timeout=10)
    connection.request("GET", "/patients?limit=1", headers={"Host": HOST})
    answer = connection.getresponse()
    connection.close()
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{HOST}/patients?limit=1")
    assert front.ask("GET", "/patients").headers["Strict-Transport-Security"] == "max-age=63072000"


@needs_nginx
def test_the_gateway_hears_the_address_that_nginx_saw(front: Front) -> None:
    front.ask("GET", "/patients", X_Forwarded_For="6.6.6.6", X_Request_ID="phone-0001")
    _, headers, _ = front.gateway.requests[-1]
    assert headers["X-Forwarded-For"] == LOOPBACK
    assert headers["X-Request-ID"] == "phone-0001"
    assert headers["Host"] == HOST


@needs_nginx
def test_metrics_stay_inside_and_sizes_are_the_suites_own(front: Front) -> None:
    before = len(front.gateway.requests)
    assert [front.ask("GET", path).status for path in ("/metrics", "/gateway/metrics", "//metrics")][:2] == [404, 404]
    assert front.ask("POST", "/patients", b"x" * 1_200_000).status == 413
    assert "/metrics" not in [path for path, _, _ in front.gateway.requests[before:]]
    assert front.ask("POST", "/patients", b"x" * 1024 * 1024).status == 200
    assert front.ask("POST", "/timeseries/write", b"x" * 4 * 1024 * 1024).status == 200


@needs_nginx
def test_a_gateway_that_is_being_replaced_is_spoken_for(front: Front) -> None:
    front.gateway.away.set()
    try:
        answer = front.ask("GET", "/patients")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    finally:
        front.gateway.away.clear()
    assert front.ask("GET", "/patients").status == 200


@needs_nginx
def test_a_gateway_stands_in_for_the_one_that_is_being_replaced(front: Front) -> None:
    front.stand_in.serve()
    try:
        assert front.ask("POST", "/patients", b"x").status == 200
        assert front.stand_in.requests == []  # who is there is asked
        front.gateway.away.set()
        assert front.ask("GET", "/patients").status == 200
        assert len(front.stand_in.requests) == 1
        assert front.ask("POST", "/patients", b"x").status == 200
        assert len(front.stand_in.requests) == 2
    finally:
        front.gateway.away.clear()
        front.stand_in.stop()


@needs_nginx
def test_where_nobody_listens_the_stand_in_gets_writes_too(front: Front) -> None:
    front.gateway.stop()
    front.stand_in.serve()
    try:
        before = len(front.stand_in.requests)
        assert front.ask("POST", "/patients", b"x").status == 200
        assert len(front.stand_in.requests) == before + 1
    finally:
        front.stand_in.stop()
        front.gateway.serve()
    assert front.ask("POST", "/patients", b"x").status == 200
    assert len(front.stand_in.requests) == before + 1
