"""Keys that sign or seal: a new one is first accepted everywhere, then signs, and goes when nothing of it lives."""

from __future__ import annotations

import time
from collections.abc import Callable

from auth_service.keys import RingError, kid_of, lengthened, ring_of, shortened, turned, waits
from common.env_file import EnvFile
from common.tokens import ACCESS_SECONDS, SERVICE_SECONDS
from ops.native.console import say
from ops.rotation.suites import RotationError

# How long what a key has signed may live, in seconds; None: for ever, so that its old keys stay.
RINGS: dict[str, tuple[str, int | None]] = {
    "jwt": ("JWT_SIGNING_KEYS", ACCESS_SECONDS),
    "internal": ("INTERNAL_SIGNING_KEYS", SERVICE_SECONDS),
    "auth-secret": ("AUTH_SECRET_KEYS", None),
    "audit": ("AUDIT_SIGNING_KEY", None),
}


def rotate(env: EnvFile, reload: Callable[[], None], what: str) -> None:
    """A new key: accepted everywhere first, then the one that signs."""
    name, life = RINGS[what]
    values = env.values()
    ring = _ring(env, name)
    if not waits(ring):
        algorithm = values.get("JWT_ALGORITHM", "HS256") if what == "jwt" else "HS256"
        ring = lengthened(ring, algorithm, time.time())
        env.set(**{name: ",".join(ring)})
        say(f"{name}: key {kid_of(ring[-1])} is there, and signs nothing yet")
    # Also where an earlier run stopped: nobody may meet a key that some program does not know.
    reload()
    ring = turned(_ring(env, name))
    env.set(**{name: ",".join(ring)})
    reload()
    env.path.touch()  # from now on nothing is signed by the old one: `finish` counts from here
    say(f"{name}: key {kid_of(ring[0])} signs now; the {len(ring) - 1} before it are still accepted")
    if life is None:
        say("Keep the old ones: what they signed or sealed needs them.")
    else:
        say(f"In {life / 60:.0f} min or later: python -m ops.rotate {what} --finish")


def finish(env: EnvFile, reload: Callable[[], None], what: str) -> None:
    """Forget the old keys, once nothing that they signed is alive."""
    name, life = RINGS[what]
    if life is None:
        raise RotationError(f"{name}: old keys stay, what they signed or sealed needs them")
    ring = _ring(env, name)
    if len(ring) == 1:
        say(f"{name}: there is one key; nothing to forget")
        return
    try:
        ring = shortened(ring, env.changed_at(), life, time.time())
    except RingError as error:
        raise RotationError(f"{name}: {error}") from error
    env.set(**{name: ",".join(ring)})
    reload()
    say(f"{name}: key {kid_of(ring[0])} is the only one now")


def _ring(env: EnvFile, name: str) -> list[str]:
    ring = ring_of(env.values().get(name, ""))
    if not ring:
        raise RotationError(f"{name} is not in {env.path}")
    return ring
