"""Redis killed or frozen under load at a real gateway: nobody sees an error, limits and revocations still hold.

How much slower it gets is measured by `python -m tests.benchmarks.redis_away`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from tests.gateway.clients import LIMITS, WRITES_A_MINUTE, Clients, away, revoke
from tests.gateway.stage import private_redis

SECONDS = 5.0


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_redis_away_under_load(new_gateway, services, how):
    with private_redis() as server:
        gateway = new_gateway(REDIS_URL=server.url, **LIMITS)
        revoke(server, services["auth"])
        clients = Clients.of(gateway)
        asking = threading.Thread(target=clients.ask, args=(SECONDS,))
        asking.start()
        time.sleep(SECONDS / 5)
        with away(server, how):
            asking.join()
            check(clients)
            # A burst was in Redis and a burst is in memory; the rest is what comes again in a few seconds.
            written = statuses([clients.writer])[200]
            assert WRITES_A_MINUTE < written <= 2 * WRITES_A_MINUTE + SECONDS
        assert gateway.log_lines("redis.away")
        check(clients.ask(SECONDS / 2))  # it is back: what it knows of limits and revocations counts again
        assert statuses([clients.writer])[200] <= WRITES_A_MINUTE + SECONDS
        assert gateway.log_lines("redis.back")


def statuses(clients):
    return Counter(status for client in clients for status, _ in client.answers)


def check(clients):
    assert set(statuses(clients.readers)) == {200}
    assert set(statuses([clients.writer])) <= {200, 429} and statuses([clients.writer])[429]
    assert set(statuses([clients.revoked])) == {401}


def test_with_auth_away_too_no_token_passes(new_gateway, services, ports):
    """Nobody can tell what is revoked: known tokens hear 503, and the way in stays open."""
    with private_redis() as server:
        gateway = new_gateway(REDIS_URL=server.url, AUTH_URL="http://127.0.0.1:9", **LIMITS)
        revoke(server, services["auth"])
        clients = Clients.of(gateway)
        server.kill()
        clients.ask(1.0)
        assert set(statuses([*clients.readers, clients.revoked])) == {503}
        assert not services["patient"].received
