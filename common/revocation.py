"""Which tokens no longer count: PostgreSQL in auth_service is the truth, Redis carries it everywhere."""

from __future__ import annotations

import math

import redis
import structlog

from common.auth import Claims
from common.cache import Pause, RedisError
from common.tokens import ACCESS_SECONDS

log = structlog.get_logger()

COMPLETE = "revoked:complete"
"""The Redis key that stands while Redis knows of every revocation."""


class Revocations:
    """Asks and tells Redis about revoked tokens, sessions and users."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._pause = Pause()

    def is_revoked(self, claims: Claims) -> bool:
        """True when the token, its session or its user was revoked.

        With Redis away the answer is False and the fact is logged: the token's short life is then the limit here,
        while the gateway asks auth_service.
        """
        if self._pause.active():
            return False
        try:
            token, session, user = self._redis.mget(keys_of(claims))
        except RedisError:
            if self._pause.begin():
                log.warning("revocation.redis_away")
            return False
        if self._pause.end():
            log.info("revocation.redis_back")
        return bool(token or session or (user is not None and claims.issued_at * 1000 < int(user)))

    def revoke(self, subject: str, before: float | None = None) -> None:
        """Refuse the access tokens of `subject`: `token:<jti>`, `session:<id>`, or `user:<id>` with `before`.

        Of a user those are refused that were issued before `before` (unix seconds); later ones count.
        Raises RedisError: whoever revokes must know that it did not get through.
        """
        value = 1 if before is None else math.ceil(before * 1000) + 1  # `iat` is rounded to a millisecond
        self._redis.set(f"revoked:{subject}", value, ex=ACCESS_SECONDS)

    def is_complete(self) -> bool:
        """False when Redis came back without what it had been told; raises RedisError."""
        return bool(self._redis.exists(COMPLETE))

    def mark_complete(self) -> None:
        """Say that Redis knows of every revocation; raises RedisError."""
        self._redis.set(COMPLETE, 1)


def keys_of(claims: Claims) -> list[str]:
    """The three Redis keys that decide over a token."""
    return [
        f"revoked:token:{claims.token_id}",
        f"revoked:session:{claims.session_id}",
        f"revoked:user:{claims.subject}",
    ]
