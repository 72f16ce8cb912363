"""Background work of the auth service."""

from __future__ import annotations

from sqlalchemy import select, text, update

from auth_service.models import Revocation
from auth_service.sessions import MIRROR, REPLAY_WINDOW
from auth_service.throttle import WINDOW
from common.cache import RedisError
from common.database import ALL_ORGANIZATIONS, Database
from common.errors import Unavailable
from common.revocation import Revocations
from common.tasks import task
from common.tokens import ACCESS_SECONDS

BATCH = 500


@task(MIRROR, every=5)
def mirror_revocations(database: Database, revocations: Revocations) -> int:
    """Tell Redis of revocations it does not know, all of them when it has lost its memory; returns how many.

    Raises Unavailable while Redis is away: the rows wait.
    """
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        try:
            if not revocations.is_complete():
                session.execute(update(Revocation).values(mirrored=False))
            waiting = select(Revocation).where(~Revocation.mirrored).order_by(Revocation.id).limit(BATCH)
            rows = session.scalars(waiting.with_for_update()).all()
            for row in rows:
                revocations.revoke(row.subject, row.before.timestamp() if row.before else None)
                row.mirrored = True
            if len(rows) < BATCH:
                revocations.mark_complete()
        except RedisError as error:
            raise Unavailable from error
    return len(rows)


_FORGET = {
    # An access token that was refused has run out by itself meanwhile.
    "DELETE FROM revocations WHERE created_at < now() - make_interval(secs => :seconds)": ACCESS_SECONDS + 60,
    "UPDATE refresh_tokens SET successor_sealed = NULL"
    " WHERE successor_sealed IS NOT NULL AND used_at < now() - make_interval(secs => :seconds)": REPLAY_WINDOW.seconds,
    "DELETE FROM refresh_tokens WHERE expires_at < now() - make_interval(secs => :seconds)": 0,
    "DELETE FROM sessions WHERE expires_at < now() - make_interval(secs => :seconds)": 0,
    "DELETE FROM login_failures WHERE since < now() - make_interval(secs => :seconds)"
    " AND (locked_until IS NULL OR locked_until < now())": WINDOW.seconds,
    "DELETE FROM device_pairings WHERE expires_at < now() - make_interval(secs => :seconds)": 0,
    "DELETE FROM account_mails WHERE expires_at < now() - make_interval(secs => :seconds)": 24 * 3600,
}


@task("cleanup", every=60)
def forget_expired(database: Database) -> int:
    """Delete what has run out: tokens, sessions, revocations, failures, letters. Returns 0: done."""
    for statement, seconds in _FORGET.items():
        with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
            session.execute(text(statement), {"seconds": seconds})
    return 0
