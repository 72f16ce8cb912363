"""Who may still call: rate limits and revocation in one Redis round trip, and what holds while Redis is away."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections.abc import Callable
from functools import lru_cache

import structlog
from prometheus_client import Counter, Gauge

from common.auth import Claims
from common.cache import Pause, RedisError
from common.errors import InvalidToken, RateLimited
from common.revocation import COMPLETE, keys_of
from gateway.answers import Headers
from gateway.config import ADDRESS_LIMITS, USER_LIMITS, GatewaySettings, limits_of
from gateway.redis_script import RedisScript

log = structlog.get_logger(service="gateway")

_REFUSALS = Counter("heartguard_gateway_refused_total", "Requests over a rate limit", ["scope", "rate_class"])
_REDIS_AWAY = Gauge("heartguard_gateway_redis_away", "1 while the limits live in memory", multiprocess_mode="max")

_MINUTE_US = 60_000_000
_TABLE_SIZE = 20_000
_ANSWERS_SIZE = 10_000
_ANSWER_SECONDS = 1.0

# Generic cell rate algorithm: a key holds the time (us) at which its caller's burst is used up. Every request moves it
# by 1/rate, and one that would push it a full minute ahead is refused. No window edges, and the wait is exact.
# KEYS: address, user, revoked token, revoked session, revoked user, completeness (all but the first only with a token).
# ARGV: interval of the address, interval of the user, issued at (ms). Intervals in us; the burst is one minute's worth.
# Answers (ahead * 2 + scope) * 4 + kind: how far (us) the tighter key is ahead of now, or would be if it were not
# refused; whose key that is, 0 the address and 1 the user; and the kinds are those below.
_PASSED, _REFUSED, _REVOKED, _UNKNOWN = range(4)
_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local users = #KEYS > 1 and 2 or 1
local moved = {}
local tight, scope, least = 0, 0, math.huge
for i = 1, users do
  local at = math.max(tonumber(redis.call('GET', KEYS[i]) or 0), now) + ARGV[i]
  local ahead = math.ceil(at - now)
  if ahead > 60000000 then return (ahead * 2 + i - 1) * 4 + 1 end
  local left = (60000000 - ahead) / ARGV[i]
  if left < least then tight, scope, least = ahead, i - 1, left end
  moved[i] = at
end
for i = 1, users do redis.call('SET', KEYS[i], string.format('%.0f', moved[i]), 'PX', 61000) end
local kind = 0
if users == 2 then
  local user = redis.call('GET', KEYS[5])
  if redis.call('EXISTS', KEYS[3], KEYS[4]) > 0 or (user and tonumber(ARGV[3]) < tonumber(user)) then kind = 2
  elseif redis.call('EXISTS', KEYS[6]) == 0 then kind = 3 end
end
return (tight * 2 + scope) * 4 + kind
"""


class Limits:
    """Counts requests for the whole suite in Redis; alone, and with its share of the limits, while Redis is away."""

    def __init__(self, settings: GatewaySettings, ask_auth: Callable[[Claims], bool]) -> None:
        self._address_intervals = _intervals(limits_of(settings.rate_limits_ip, ADDRESS_LIMITS))
        self._user_intervals = _intervals(limits_of(settings.rate_limits_user, USER_LIMITS))
        self._redis_url = settings.redis_url
        self._local = threading.local()
        self._pause = Pause()
        self._share = settings.workers
        self._memory = _Memory()
        self._revocations = _Answers(ask_auth)

    def admit(self, rate_class: str, address: str, claims: Claims | None, told: Headers | None = None) -> None:
        """Count one request and add to `told` what the caller may still do, also when it is refused.

        Raises RateLimited with the wait, InvalidToken for a revoked token, Unavailable when nobody can tell whether
        it is revoked (Redis and auth_service both away).
        """
        keys = [f"rate:address:{rate_class}:{network_of(address)}"]
        intervals: list[float] = [self._address_intervals[rate_class]]
        arguments: list[float] = intervals
        if claims is not None:
            keys += [f"rate:user:{rate_class}:{claims.subject}", *keys_of(claims), COMPLETE]
            intervals.append(self._user_intervals[rate_class])
            arguments = [*intervals, claims.issued_at * 1000]
        verdict = None if self._pause.active() else self._ask_redis(keys, arguments)
        if verdict is None:
            intervals = [interval * self._share for interval in intervals]
            verdict = self._memory.count(keys[:2], intervals)
            if claims is not None and verdict & 3 == _PASSED:
                verdict += _UNKNOWN
        ahead, scope, kind = verdict >> 3, verdict >> 2 & 1, verdict & 3
        if told is not None:
            told += _allowance(ahead, intervals[scope])
        if kind == _REFUSED:
            _REFUSALS.labels("user" if scope else "address", rate_class).inc()
            raise RateLimited(retry_after=-(-(ahead - _MINUTE_US) // 1_000_000))
        if kind == _REVOKED or (kind == _UNKNOWN and claims is not None and self._revocations.is_revoked(claims)):
            raise InvalidToken

    def _ask_redis(self, keys: list[str], arguments: list[float]) -> int | None:
        try:
            script = self._local.script
        except AttributeError:
            script = self._local.script = RedisScript(self._redis_url, _SCRIPT)
        try:
            verdict: int = script.run(keys, arguments)
        except RedisError as error:
            if self._pause.begin():
                _REDIS_AWAY.set(1)
                log.warning("redis.away", cause=type(error).__name__)
            return None
        if self._pause.away and self._pause.end():
            _REDIS_AWAY.set(0)
            log.info("redis.back")
        return verdict


def _intervals(limits: dict[str, int]) -> dict[str, float]:
    return {name: _MINUTE_US / limit for name, limit in limits.items()}


@lru_cache(maxsize=10_000)
def network_of(address: str) -> str:
    """What one subscriber holds: an IPv4 address, or an IPv6 /64."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, 64), strict=False))


def _allowance(ahead: int, interval: float) -> Headers:
    """What the caller may still do: requests left of a minute's, and seconds until all of them are there again.

    The three fields of draft-ietf-httpapi-ratelimit-headers up to its sixth version, which clients know how to read.
    """
    left = int(max(_MINUTE_US - ahead, 0) / interval + 0.01)  # whole microseconds must not cost a request
    return [
        ("RateLimit-Limit", str(round(_MINUTE_US / interval))),
        ("RateLimit-Remaining", str(left)),
        ("RateLimit-Reset", str(-(-min(ahead, _MINUTE_US) // 1_000_000))),
    ]


class _Memory:
    """The same algorithm in this process; the oldest keys make room."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._lock = threading.Lock()

    def count(self, keys: list[str], intervals: list[float]) -> int:
        """What the script answers, with the kinds passed and refused only."""
        now = time.monotonic() * 1_000_000
        moved = []
        tight, scope, least = 0, 0, math.inf
        with self._lock:
            for index, (key, interval) in enumerate(zip(keys, intervals, strict=True)):
                at = max(self._times.get(key, 0.0), now) + interval
                ahead = math.ceil(at - now)
                if ahead > _MINUTE_US:
                    return (ahead * 2 + index) * 4 + _REFUSED
                left = (_MINUTE_US - ahead) / interval
                if left < least:
                    tight, scope, least = ahead, index, left
                moved.append((key, at))
            for key, at in moved:
                self._times.pop(key, None)
                if len(self._times) >= _TABLE_SIZE:
                    del self._times[next(iter(self._times))]
                self._times[key] = at
        return (tight * 2 + scope) * 4 + _PASSED


class _Answers:
    """What auth_service said about a token, believed for one second."""

    def __init__(self, ask: Callable[[Claims], bool]) -> None:
        self._ask = ask
        self._known: dict[str, tuple[float, bool]] = {}

    def is_revoked(self, claims: Claims) -> bool:
        now = time.monotonic()
        until, revoked = self._known.get(claims.token_id, (0.0, True))
        if until <= now:
            revoked = self._ask(claims)
            if len(self._known) >= _ANSWERS_SIZE:
                self._known.clear()
            self._known[claims.token_id] = (now + _ANSWER_SECONDS, revoked)
        return revoked
