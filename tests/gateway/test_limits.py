from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis as redis_client
from structlog.testing import capture_logs

from common.auth import Claims
from common.cache import RedisError
from common.errors import InvalidToken, RateLimited, Unavailable
from common.revocation import Revocations
from gateway import limits as limits_module
from gateway.config import USER_LIMITS
from gateway.limits import Limits, network_of
from gateway.redis_script import RedisScript
from ops.native.servers.base import free_ports
from ops.native.servers.redis import Redis
from tests.gateway.stage import USER, answer, bearer, private_redis, raw

ACK = f"/alerts/{USER}/ack"


def claims(subject: str | None = None, issued_at: float | None = None) -> Claims:
    return Claims(
        subject=subject or secrets.token_hex(8),
        roles=frozenset(),
        permissions=frozenset(),
        org_id=None,
        session_id=secrets.token_hex(8),
        token_id=secrets.token_hex(8),
        issued_at=issued_at or time.time(),
        expires_at=int(time.time()) + 600,
        audience="heartguard",
    )


def address() -> str:
    return ".".join(str(byte) for byte in secrets.token_bytes(4))


def never(_claims: Claims) -> bool:
    raise AssertionError("auth_service is asked only while Redis is away")


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    with private_redis() as server:
        yield server


def count_until_refused(limits: Limits, who: Claims | None, where: str, most: int = 100) -> int:
    for number in range(most):
        try:
            limits.admit("read", where, who)
        except RateLimited as error:
            assert 1 <= int(error.headers["Retry-After"]) <= 60
            return number
    raise AssertionError(f"nothing refused in {most} requests")


def test_an_address_has_its_limit(settings):
    limits = Limits(settings(RATE_LIMITS_IP="read=7"), never)
    where = address()
    assert count_until_refused(limits, None, where) == 7
    limits.admit("read", address(), None)
    limits.admit("write", where, None)


def test_a_user_has_a_limit_wherever_they_come_from(settings):
    limits = Limits(settings(RATE_LIMITS_USER="read=5"), never)
    who = claims()
    for _ in range(5):
        limits.admit("read", address(), who)
    with pytest.raises(RateLimited):
        limits.admit("read", address(), who)


def test_a_refused_request_does_not_lengthen_the_wait(settings):
    limits = Limits(settings(RATE_LIMITS_USER="read=60"), never)
    who, where = claims(), address()
    count_until_refused(limits, who, where)
    for _ in range(20):
        with pytest.raises(RateLimited) as caught:
            limits.admit("read", where, who)
        assert caught.value.headers["Retry-After"] == "1"
    time.sleep(1.05)
    limits.admit("read", where, who)


def test_an_ipv6_subscriber_is_a_network():
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2::ffff") != network_of("2001:db8:1:3::4")
    assert network_of("192.0.2.7") == "192.0.2.7"


@pytest.mark.parametrize("kind", ["token", "session", "user"])
def test_a_revocation_counts_at_once(settings, redis, kind):
    limits = Limits(settings(), never)
    who = claims(issued_at=time.time() - 1)
    limits.admit("read", address(), who)
    subject = {"token": who.token_id, "session": who.session_id, "user": who.subject}[kind]
    with redis_client.Redis.from_url(redis.url) as client:
        Revocations(client).revoke(f"{kind}:{subject}", time.time() if kind == "user" else None)
    with pytest.raises(InvalidToken):
        limits.admit("read", address(), who)


def test_a_token_issued_after_the_user_was_revoked_counts(settings, redis):
    limits = Limits(settings(), never)
    subject = secrets.token_hex(8)
    with redis_client.Redis.from_url(redis.url) as client:
        Revocations(client).revoke(f"user:{subject}", time.time() - 1)
    limits.admit("read", address(), claims(subject))


def test_a_redis_that_lost_its_memory_is_not_believed(settings, own_redis):
    limits = Limits(settings(REDIS_URL=own_redis.url), lambda who: who.subject == "revoked")
    with redis_client.Redis.from_url(own_redis.url) as client:
        client.flushall()
        limits.admit("read", address(), claims())
        with pytest.raises(InvalidToken):
            limits.admit("read", address(), claims("revoked"))
        Revocations(client).mark_complete()
    limits.admit("read", address(), claims("revoked"))


def test_without_redis_each_worker_has_its_share_and_auth_is_asked(settings, own_redis):
    asked = []

    def ask(who: Claims) -> bool:
        asked.append(who.token_id)
        return who.subject == "revoked"

    limits = Limits(
        settings(REDIS_URL=own_redis.url, RATE_LIMITS_IP="read=40", RATE_LIMITS_USER="read=8", GATEWAY_WORKERS="2"), ask
    )
    who = claims()
    limits.admit("read", address(), who)
    own_redis.kill()
    with capture_logs() as lines:
        assert count_until_refused(limits, who, address()) == 4
        assert count_until_refused(limits, None, address()) == 20
        with pytest.raises(InvalidToken):
            limits.admit("read", address(), claims("revoked"))
    assert asked.count(who.token_id) == 1, "an answer is believed for a second"
    assert [line["event"] for line in lines] == ["redis.away"]
    time.sleep(1.05)  # the pause after a failure
    own_redis.start(tied=True)
    with capture_logs() as lines:
        for _ in range(3):
            limits.admit("read", address(), claims())
    assert [line["event"] for line in lines] == ["redis.back"]


def test_nobody_left_to_ask_means_nobody_passes(settings):
    def away(_claims: Claims) -> bool:
        raise Unavailable

    limits = Limits(settings(REDIS_URL=f"redis://127.0.0.1:{free_ports(1)[0]}/0"), away)
    with pytest.raises(Unavailable):
        limits.admit("read", address(), claims())
    limits.admit("login", address(), None)


def test_a_frozen_redis_costs_one_timeout_a_second(settings, own_redis):
    limits = Limits(settings(REDIS_URL=own_redis.url), lambda _claims: False)
    limits.admit("read", address(), None)
    os.kill(own_redis.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        for _ in range(50):
            limits.admit("read", address(), claims())
        assert time.monotonic() - started < 0.5
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)


def test_a_restarted_redis_is_not_taken_for_away_once_per_thread(settings, own_redis):
    limits = Limits(settings(REDIS_URL=own_redis.url), lambda _claims: False)
    turns = [threading.Barrier(5) for _ in range(4)]

    def work() -> None:
        limits.admit("read", address(), None)
        for turn in turns:
            turn.wait()
            limits.admit("read", address(), None)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while turns[0].n_waiting < 4:
        time.sleep(0.01)
    own_redis.stop()
    own_redis.start(tied=True)
    with capture_logs() as lines:
        for turn in turns:
            turn.wait()
        for thread in threads:
            thread.join()
    assert lines == []


def test_an_odd_reply_is_an_error_and_not_a_verdict(settings, redis):
    script = RedisScript(redis.url, "return redis.status_reply('OK')")
    with pytest.raises(RedisError):
        script.run(["a"], [1])
    assert RedisScript(redis.url, "return 7").run(["ñ", "a b", ""], [1.5]) == 7


def test_threads_that_come_and_go_use_no_connection_up(settings, redis):
    limits = Limits(settings(), never)
    with capture_logs() as lines, redis_client.Redis.from_url(redis.url) as client:
        for _ in range(200):
            thread = threading.Thread(target=limits.admit, args=("read", address(), None))
            thread.start()
            thread.join()
        assert client.info("clients")["connected_clients"] < 100
    assert lines == []


def test_an_answer_that_came_too_late_is_not_taken_for_the_next(settings, own_redis):
    limits = Limits(settings(REDIS_URL=own_redis.url, RATE_LIMITS_IP="read=1"), lambda _claims: False)
    where = address()
    limits.admit("read", where, None)
    os.kill(own_redis.pid, signal.SIGSTOP)
    limits.admit("read", address(), None)
    os.kill(own_redis.pid, signal.SIGCONT)
    time.sleep(1.05)
    with pytest.raises(RateLimited):
        limits.admit("read", where, None)


def test_the_table_in_memory_is_bounded(settings, monkeypatch):
    monkeypatch.setattr(limits_module, "_TABLE_SIZE", 10)
    limits = Limits(settings(REDIS_URL=f"redis://127.0.0.1:{free_ports(1)[0]}/0"), lambda _claims: False)
    for _ in range(50):
        limits.admit("read", address(), claims())
    assert len(limits._memory._times) == 10


def test_a_script_that_redis_forgot_is_sent_again(settings, redis):
    limits = Limits(settings(RATE_LIMITS_IP="read=2"), never)
    where = address()
    limits.admit("read", where, None)
    with redis_client.Redis.from_url(redis.url) as client:
        client.script_flush()
    limits.admit("read", where, None)
    with pytest.raises(RateLimited):
        limits.admit("read", where, None)


def allowance(limits: Limits, rate_class: str, where: str, who: Claims | None) -> tuple[int, int, int]:
    """Limit, remaining, and reset as one request is told them."""
    told: list[tuple[str, str]] = []
    with suppress(RateLimited):
        limits.admit(rate_class, where, who, told)
    assert [name for name, _ in told] == ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]
    limit, remaining, reset = (int(value) for _, value in told)
    return limit, remaining, reset


@pytest.mark.parametrize("redis_is_away", [False, True])
def test_every_request_is_told_what_is_left(settings, redis_is_away):
    away = {"REDIS_URL": f"redis://127.0.0.1:{free_ports(1)[0]}/0"} if redis_is_away else {}
    limits = Limits(settings(RATE_LIMITS_USER="read=7", **away), lambda _claims: False)
    who, where = claims(), address()
    told = [allowance(limits, "read", where, who) for _ in range(9)]
    assert [(limit, left) for limit, left, _ in told] == [(7, left) for left in (6, 5, 4, 3, 2, 1, 0, 0, 0)]
    for _, left, reset in told:
        assert (7 - left) * 60 / 7 - 1 <= reset <= (7 - left) * 60 / 7 + 1


@pytest.mark.parametrize("redis_is_away", [False, True])
def test_the_tighter_limit_is_told(settings, redis_is_away):
    away = {"REDIS_URL": f"redis://127.0.0.1:{free_ports(1)[0]}/0"} if redis_is_away else {}
    limits = Limits(settings(RATE_LIMITS_IP="read=6", RATE_LIMITS_USER="read=5", **away), lambda _claims: False)
    where, who = address(), claims()
    assert allowance(limits, "read", where, who)[:2] == (5, 4)
    for _ in range(2):
        allowance(limits, "read", where, claims())
    assert allowance(limits, "read", where, who)[:2] == (6, 2)


def test_without_redis_the_workers_share_is_told(settings):
    away = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    limits = Limits(settings(REDIS_URL=away, RATE_LIMITS_USER="read=20", GATEWAY_WORKERS="4"), lambda _claims: False)
    assert allowance(limits, "read", address(), claims())[:2] == (5, 4)


@pytest.mark.parametrize("redis_is_away", [False, True])
@pytest.mark.parametrize("exhausted", ["read", "write", "ingest", "ack", "login"])
def test_no_class_starves_another(settings, exhausted, redis_is_away):
    away = {"REDIS_URL": f"redis://127.0.0.1:{free_ports(1)[0]}/0"} if redis_is_away else {}
    everything = [f"{name}=3" for name in USER_LIMITS]
    limits = Limits(
        settings(RATE_LIMITS_IP=",".join(everything), RATE_LIMITS_USER=",".join(everything), **away),
        lambda _claims: False,
    )
    who, where = claims(), address()
    for _ in range(3):
        limits.admit(exhausted, where, who)
    with pytest.raises(RateLimited):
        limits.admit(exhausted, where, who)
    for other in USER_LIMITS.keys() - {exhausted}:
        assert allowance(limits, other, where, who)[:2] == (3, 2)


def test_a_revoked_token_is_told_too(settings, redis):
    limits, who = Limits(settings(), never), claims(issued_at=time.time() - 1)
    with redis_client.Redis.from_url(redis.url) as client:
        Revocations(client).revoke(f"token:{who.token_id}", None)
    told: list[tuple[str, str]] = []
    with pytest.raises(InvalidToken):
        limits.admit("read", address(), who, told)
    assert ("RateLimit-Limit", "1200") in told


def test_a_revoked_token_fetches_the_answer_of_what_revoked_it_and_nothing_else(gateway, services, redis):
    session_id = secrets.token_hex(8)
    revoked, key = bearer(sid=session_id), {"Idempotency-Key": "the-same-again"}
    with redis_client.Redis.from_url(redis.url) as client:
        Revocations(client).revoke(f"session:{session_id}", None)
    switch = "/auth/switch-organization"
    assert gateway.ask("POST", switch, revoked | key).status == 200
    assert services["auth"].received[-1].headers["idempotency-key"] == key["Idempotency-Key"]
    assert gateway.ask("POST", switch, revoked).status == 401
    assert gateway.ask("POST", "/patients", revoked | key).status == 401
    assert len(services["auth"].received) == 1 and not services["patient"].received


def test_every_answer_past_the_limiter_tells_what_is_left(new_gateway, services):
    gateway = new_gateway(RATE_LIMITS_IP="read=6", TRUSTED_PROXY_HOPS="1")
    where = {"X-Forwarded-For": address()}
    services["patient"].behave = answer(headers=("RateLimit-Limit: 1", "RateLimit-Policy: 1;w=1"))
    asked = [
        gateway.ask("GET", "/patients", bearer() | where),
        gateway.ask("GET", "/patients", bearer(permissions=[]) | where),
        gateway.ask("GET", "/patients", {"Authorization": "Bearer a.b.c"} | where),
        gateway.ask("GET", "/auth/me", where),
        gateway.ask("HEAD", "/patients", bearer() | where),
    ]
    services["patient"].behave = raw(b"nonsense")
    asked += [gateway.ask("GET", "/patients", bearer() | where) for _ in range(2)]
    assert [given.status for given in asked] == [200, 403, 401, 401, 200, 502, 429]
    assert [given.headers.get_all("RateLimit-Limit") for given in asked] == [["6"]] * 7
    assert [given.headers["RateLimit-Remaining"] for given in asked] == ["5", "4", "3", "2", "1", "0", "0"]
    assert all(1 <= int(given.headers["RateLimit-Reset"]) <= 60 for given in asked)
    assert not any("RateLimit-Policy" in given.headers for given in asked)
    assert 1 <= int(asked[-1].headers["Retry-After"]) <= 10
    confirmed = gateway.ask("POST", ACK, bearer() | where)
    assert confirmed.status == 200, "an alarm is confirmed though reading is over"
    assert "RateLimit-Limit" not in gateway.ask("GET", "/nothing", where).headers


@pytest.mark.parametrize("value", ["read=0", "reads=5", "read", "read=many"])
def test_a_wrong_limit_stops_the_start(settings, value):
    with pytest.raises(SystemExit) as caught:
        settings(RATE_LIMITS_IP=value)
    assert caught.value.code == 78
