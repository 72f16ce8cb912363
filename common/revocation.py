"""Which tokens no longer count: PostgreSQL in auth_service is the truth, Redis carries it everywhere."""

from __future__ import annotations

import time

import redis
import structlog

from common.auth import ACCESS_SECONDS, Claims
from common.cache import Pause, RedisError

log = structlog.get_logger()


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

    def revoke_token(self, token_id: str) -> None:
        """Refuse one access token from now on."""
        self._redis.set(f"revoked:token:{token_id}", 1, ex=ACCESS_SECONDS)

    def revoke_session(self, session_id: str) -> None:
        """Refuse every access token of a session from now on."""
        self._redis.set(f"revoked:session:{session_id}", 1, ex=ACCESS_SECONDS)

    def revoke_user(self, subject: str) -> None:
        """Refuse every access token that the user holds now; later ones count."""
        self._redis.set(f"revoked:user:{subject}", int(time.time() * 1000), ex=ACCESS_SECONDS)


def keys_of(claims: Claims) -> list[str]:
    """The three Redis keys that decide over a token."""
    return [
        f"revoked:token:{claims.token_id}",
        f"revoked:session:{claims.session_id}",
        f"revoked:user:{claims.subject}",
    ]
