"""Clients of a gateway that ask without a pause, and a Redis that goes away while they do."""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis as redis_client

from common.revocation import Revocations
from ops.native.servers.redis import Redis
from tests.gateway.stage import PATIENT, Gateway, Received, Service, answer, token

READERS = 8
WRITES_A_MINUTE = 20
REVOKED = secrets.token_hex(8)
LIMITS = {"RATE_LIMITS_IP": "read=1000000,write=1000000", "RATE_LIMITS_USER": f"read=1000000,write={WRITES_A_MINUTE}"}
"""Only the writer meets a limit."""


def revoke(server: Redis, auth: Service) -> None:
    """Revoke the token whose id is REVOKED, in Redis and in what auth_service answers."""
    with redis_client.Redis.from_url(server.url) as client:
        Revocations(client).revoke(f"token:{REVOKED}")

    def act(peer, request: Received) -> bool:
        verdict = b"true" if f"/internal/revocations/{REVOKED}?" in request.target else b"false"
        return answer(b'{"data":{"revoked":' + verdict + b"}}")(peer, request)

    auth.behave = act


@dataclass
class Client:
    """One user on one connection; `answers` holds status and seconds of every request."""

    port: int
    method: str
    target: str
    token: str
    answers: list[tuple[int, float]] = field(default_factory=list)

    def run(self, is_over: Callable[[], bool]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Authorization": f"Bearer {self.token}"}
        while not is_over():
            began = time.perf_counter()
            connection.request(self.method, self.target, headers=headers)
            given = connection.getresponse()
            given.read()
            self.answers.append((given.status, time.perf_counter() - began))
        connection.close()


@dataclass
class Clients:
    """Readers, a writer who is over the limit, and somebody whose token was revoked."""

    readers: list[Client]
    writer: Client
    revoked: Client

    @classmethod
    def of(cls, gateway: Gateway) -> Clients:
        readers = [Client(gateway.port, "GET", "/patients", token(sub=secrets.token_hex(8))) for _ in range(READERS)]
        writer = Client(gateway.port, "DELETE", PATIENT, token(sub=secrets.token_hex(8)))
        return cls(readers, writer, Client(gateway.port, "GET", "/patients", token(jti=REVOKED)))

    def ask(self, seconds: float) -> Clients:
        """Ask for so long; what was answered before is forgotten."""
        everybody = [*self.readers, self.writer, self.revoked]
        until = time.monotonic() + seconds
        threads = []
        for client in everybody:
            client.answers = []
            threads.append(threading.Thread(target=client.run, args=(lambda: time.monotonic() > until,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(client.answers for client in everybody), "a client broke off"
        return self

    def seconds(self, share: float) -> float:
        """The time within which this share of the readers' requests was answered."""
        times = sorted(seconds for client in self.readers for _, seconds in client.answers)
        return times[int(share * (len(times) - 1))]


@contextmanager
def away(server: Redis, how: str) -> Iterator[None]:
    """Redis killed, or frozen until the end."""
    if how == "killed":
        server.kill()
        yield
        server.start(tied=True)
        return
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)
