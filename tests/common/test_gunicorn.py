"""A web process that is told to end answers all who came before, and refuses who comes after."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

import pytest

from ops.native.servers.base import LOOPBACK, ROOT, free_ports

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
APPLICATION = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@dataclass
class Web:
    """gunicorn with the suite's settings, one worker."""

    arbiter: subprocess.Popen[bytes]
    port: int
    worker: int

    def connect(self) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.port), timeout=5)


def answer_on(connection: socket.socket) -> HTTPResponse:
    answer = HTTPResponse(connection)
    answer.begin()
    assert (answer.status, answer.read()) == (200, b"ok")
    return answer


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    (port,) = free_ports(1)
    ready = tmp_path / "ready"
    ready.mkdir()
    (tmp_path / "application.py").write_text(APPLICATION)
    environment = os.environ | {"PORT": str(port), "WEB_WORKERS": "1", "HEARTGUARD_READY_FOLDER": str(ready)}
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "common/gunicorn.py"), "application:app"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as arbiter:
        try:
            deadline = time.monotonic() + 30
            while not (workers := [int(path.name) for path in ready.iterdir()]):
                assert arbiter.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            yield Web(arbiter, port, workers[0])
        finally:
            arbiter.kill()


def test_who_waited_at_the_door_is_answered(web: Web) -> None:
    os.kill(web.worker, signal.SIGSTOP)
    with ExitStack() as stack:
        waiting = [stack.enter_context(web.connect()) for _ in range(6)]
        for connection in waiting:
            connection.sendall(REQUEST)
        web.arbiter.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        os.kill(web.worker, signal.SIGCONT)
        for connection in waiting:
            answer_on(connection)
    assert web.arbiter.wait(10) == 0


def test_who_comes_after_the_end_was_told_is_refused_at_once(web: Web) -> None:
    with web.connect() as kept:
        kept.sendall(REQUEST)
        answer_on(kept)
        web.arbiter.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert web.arbiter.poll() is None  # it lingers for the kept connection
        with pytest.raises(ConnectionRefusedError):
            web.connect()
        kept.sendall(REQUEST)
        assert answer_on(kept).getheader("Connection") == "close"
    assert web.arbiter.wait(10) == 0
