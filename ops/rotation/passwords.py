"""Passwords of servers: programs know both before a server changes, and the old one is forgotten last."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

from common.config import SERVICES
from ops.native.console import say
from ops.rotation.suites import BROKER_USER, RotationError, Suite

ROLES = {
    "postgres": "POSTGRES_PASSWORD",
    "migrations": "MIGRATIONS_DATABASE_PASSWORD",
    **{name: f"{name.upper()}_DATABASE_PASSWORD" for name in SERVICES},
}
CHARACTERS = re.compile(r"[A-Za-z0-9._~-]+")


def rotate_roles(suite: Suite, names: Iterable[str]) -> None:
    """New passwords of PostgreSQL's roles: services know both before PostgreSQL changes."""
    chosen = list(names)
    following = {name: _begin(suite, ROLES[name])[1] for name in chosen}
    if services := [name for name in chosen if name in SERVICES]:
        say(f"{len(services)} services learn their next password")
        suite.reload()
    user = suite.env.values().get("POSTGRES_USER", "postgres")
    statements = []
    for name, password in following.items():
        if not CHARACTERS.fullmatch(password):
            raise RotationError(f"{ROLES[name]}_NEXT: letters, digits or . _ ~ - only")
        role = user if name == "postgres" else f"heartguard_{name}"
        statements.append(f"ALTER ROLE \"{role}\" PASSWORD '{password}';")
    command = suite.postgres("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-1", "-d", suite.database)
    command.output("\n".join(statements).encode())
    suite.env.set(
        **{ROLES[name]: password for name, password in following.items()},
        **{f"{ROLES[name]}_NEXT": None for name in chosen},
    )
    suite.reload()
    say(f"PostgreSQL: new passwords of {', '.join(chosen)}; the old ones are worth nothing")


def rotate_redis(suite: Suite) -> None:
    """A second password for Redis, which the programs turn to; then the first goes."""
    suite.redis()  # refuses a server that is not ours before anything is written
    old, new = _begin(suite, "REDIS_PASSWORD")
    _ask_redis(suite, old, f"ACL SETUSER default >{new}")
    suite.env.set(REDIS_PASSWORD=new)
    suite.rewrite("redis")
    suite.reload()
    _ask_redis(suite, new, f"ACL SETUSER default resetpass >{new}")
    suite.env.set(REDIS_PASSWORD_NEXT=None)
    say("Redis: the new password is the only one now")


def _ask_redis(suite: Suite, password: str, statement: str) -> None:
    # Through its input: on a command line everybody could read them.
    said = suite.redis().output(f"AUTH {password}\n{statement}\n".encode()).decode().split()
    if said != ["OK", "OK"]:
        raise RotationError(f"Redis refused: {' '.join(said)}")


def rotate_rabbitmq(suite: Suite) -> None:
    """RabbitMQ has one password for a user: connections stay, and who connects anew meanwhile tries again.

    Requests never wait for it: they write their messages into the outbox.
    """
    command = suite.rabbitmqctl("change_password", BROKER_USER)
    _, new = _begin(suite, "RABBITMQ_PASSWORD")
    command.output(f"{new}\n".encode())
    suite.env.set(RABBITMQ_PASSWORD=new)
    suite.rewrite("rabbitmq")
    suite.reload()
    suite.env.set(RABBITMQ_PASSWORD_NEXT=None)
    say("RabbitMQ: the new password is the only one now")


def rotate_everything(suite: Suite) -> None:
    """Every password, one kind after the other."""
    rotate_roles(suite, ROLES)
    rotate_redis(suite)
    rotate_rabbitmq(suite)


def _begin(suite: Suite, variable: str) -> tuple[str, str]:
    """The password of now and the next one, which an interrupted run may have chosen."""
    values = suite.env.values()
    if variable not in values:
        raise RotationError(f"{variable} is not in {suite.env.path}")
    new = values.get(f"{variable}_NEXT") or secrets.token_urlsafe(32)
    suite.env.set(**{f"{variable}_NEXT": new})
    return values[variable], new
