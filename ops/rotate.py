"""`python -m ops.rotate WHAT`: new keys and passwords for the running suite, while it serves.

Nothing is ever replaced at one stroke. A key is first accepted everywhere, then signs, and goes when nothing signed by
it lives (`--finish`). A service first knows both passwords, then PostgreSQL changes, then the old one is forgotten;
Redis itself takes both for a while. Between these steps every program is restarted in turn, with the new `.env`.
An interrupted rotation goes on where it stopped when the same command is given again.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from common.config import ROOT, SERVICES
from ops.backups.places import BackupError, Command, Native, find_place, read_env
from ops.native.console import say
from ops.native.servers import RabbitMQ, Server

# How long what a key has signed may live; None: for ever, so that its old keys stay.
RINGS: dict[str, tuple[str, timedelta | None]] = {
    "jwt": ("JWT_SIGNING_KEYS", timedelta(minutes=15)),
    "internal": ("INTERNAL_SIGNING_KEYS", timedelta(minutes=1)),
    "auth-secret": ("AUTH_SECRET_KEYS", None),
    "audit": ("AUDIT_SIGNING_KEY", None),
}
KID = re.compile(r"r\d{14}")
KID_TIME = "r%Y%m%d%H%M%S"
ROLES = {
    "postgres": "POSTGRES_PASSWORD",
    "migrations": "MIGRATIONS_DATABASE_PASSWORD",
    **{name: f"{name.upper()}_DATABASE_PASSWORD" for name in SERVICES},
}
CONTAINERS = """this is for the native runtime. In containers a key changes by hand: put the new pair behind the others
in .env, ./start_services.sh --docker, put it in front, again, and after 15 minutes take the old one away. A password
needs a stop: ./stop_services.sh, change it in the server and in .env, ./start_services.sh --docker"""
CHARACTERS = re.compile(r"[A-Za-z0-9._~-]+")


class RotationError(RuntimeError):
    """A rotation cannot begin or go on: the message says what to do."""


@dataclass
class EnvFile:
    """The suite's `.env`, changed line by line and never half written."""

    path: Path

    def values(self) -> dict[str, str]:
        """What it says now."""
        return read_env(self.path)

    def set(self, **changes: str | None) -> None:
        """Set variables, and take away those that are None; everything else stays as it is."""
        for name in changes:
            if name in os.environ:
                raise RotationError(f"{name} comes from the environment, which overrules {self.path.name}: unset it")
        lines = []
        left = dict(changes)
        for line in self.path.read_text().splitlines():
            name = line.partition("=")[0].strip()
            if name not in changes:
                lines.append(line)
            elif (value := left.pop(name, None)) is not None:
                lines.append(f"{name}={value}")
        lines += [f"{name}={value}" for name, value in left.items() if value is not None]
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self.path)


class Rotation:
    """One suite whose secrets change."""

    def __init__(self, place: Native, *, reload: Callable[[], None] | None = None) -> None:
        self.place = place
        self.env = EnvFile(place.env_file)
        self.reload = reload or self._reload

    def _reload(self) -> None:
        """Restart every program in turn, with what `.env` says now."""
        if subprocess.run([sys.executable, "-m", "ops.native", "reload"], cwd=ROOT, check=False).returncode:
            raise RotationError("the programs could not be restarted: mend that, then give the same command again")

    # -- keys

    def ring(self, what: str) -> None:
        """A new key: accepted everywhere first, then the one that signs."""
        name, life = RINGS[what]
        if what == "jwt" and self.env.values().get("JWT_ALGORITHM", "HS256") != "HS256":
            raise RotationError(
                "JWT_SIGNING_KEYS names files of key pairs: make the new pair and put it behind by hand"
            )
        keys = self._keys(name)
        if not _waits(keys):
            kid = datetime.now(UTC).strftime(KID_TIME)
            self.env.set(**{name: ",".join([*keys, f"{kid}:{secrets.token_urlsafe(32)}"])})
            say(f"{name}: key {kid} is there, and signs nothing yet")
        # Also where an earlier run stopped: nobody may meet a key that some program does not know.
        self.reload()
        keys = self._keys(name)
        self.env.set(**{name: ",".join([keys[-1], *keys[:-1]])})
        self.reload()
        self.env.path.touch()  # from now on nothing is signed by the old one: --finish counts from here
        say(f"{name}: key {_kid(keys[-1])} signs now; the {len(keys) - 1} before it are still accepted")
        if life is None:
            say("Keep the old ones: what they signed or sealed needs them.")
        else:
            say(f"In {life.total_seconds() / 60:.0f} min or later: python -m ops.rotate {what} --finish")

    def finish(self, what: str) -> None:
        """Forget the old keys, once nothing that they signed is alive."""
        name, life = RINGS[what]
        if life is None:
            raise RotationError(f"{name}: old keys stay, what they signed or sealed needs them")
        keys = self._keys(name)
        if len(keys) == 1:
            say(f"{name}: there is one key; nothing to forget")
            return
        if _waits(keys) or not KID.fullmatch(_kid(keys[0])):
            raise RotationError(f"{name}: no new key signs yet; give this command without --finish first")
        ready = self.env.path.stat().st_mtime + life.total_seconds()
        if (left := ready - datetime.now(UTC).timestamp()) > 0:
            raise RotationError(f"{name}: tokens of the old key may live for {left / 60:.0f} min more: come again then")
        self.env.set(**{name: keys[0]})
        self.reload()
        say(f"{name}: key {_kid(keys[0])} is the only one now")

    def _keys(self, name: str) -> list[str]:
        keys = [key.strip() for key in self.env.values().get(name, "").split(",") if key.strip()]
        if not keys:
            raise RotationError(f"{name} is not in {self.env.path}")
        return keys

    # -- PostgreSQL

    def roles(self, names: Iterable[str]) -> None:
        """New passwords of roles: services know both before PostgreSQL changes."""
        chosen = list(names)
        values = self.env.values()
        following = {}
        for name in chosen:
            variable = ROLES[name]
            if variable not in values:
                raise RotationError(f"{variable} is not in {self.env.path}")
            following[name] = values.get(f"{variable}_NEXT") or secrets.token_urlsafe(32)
        self.env.set(**{f"{ROLES[name]}_NEXT": password for name, password in following.items()})
        if services := [name for name in chosen if name in SERVICES]:
            say(f"{len(services)} services learn their next password")
            self.reload()
        self._alter(following)
        self.env.set(
            **{ROLES[name]: password for name, password in following.items()},
            **{f"{ROLES[name]}_NEXT": None for name in chosen},
        )
        self.reload()
        say(f"PostgreSQL: new passwords of {', '.join(chosen)}; the old ones are worth nothing")

    def _alter(self, passwords: dict[str, str]) -> None:
        statements = []
        for name, password in passwords.items():
            if not CHARACTERS.fullmatch(password):
                raise RotationError(f"{ROLES[name]}_NEXT: letters, digits or . _ ~ - only")
            role = f"heartguard_{name}" if name != "postgres" else self.env.values().get("POSTGRES_USER", "postgres")
            statements.append(f"ALTER ROLE \"{role}\" PASSWORD '{password}';")
        command = self.place.postgres("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-1", "-d", self.place.database)
        command.output("\n".join(statements).encode())

    # -- Redis and RabbitMQ

    def redis(self) -> None:
        """A second password for Redis, which the programs turn to; then the first goes."""
        self._own("redis", "REDIS_URL")
        old, new = self._begin("REDIS_PASSWORD")
        self._ask_redis(old, f"ACL SETUSER default >{new}")
        self.env.set(REDIS_PASSWORD=new)
        self._rewrite("redis")
        self.reload()
        self._ask_redis(new, f"ACL SETUSER default resetpass >{new}")
        self.env.set(REDIS_PASSWORD_NEXT=None)
        say("Redis: the new password is the only one now")

    def _ask_redis(self, password: str, statement: str) -> None:
        port = str(self.place.runtime.ports["REDIS_PORT"])
        words = ["redis-cli", "-h", "127.0.0.1", "-p", port, "--no-auth-warning"]
        # Through its input: on a command line everybody could read them.
        said = Command(words, os.environ).output(f"AUTH {password}\n{statement}\n".encode()).decode().split()
        if said != ["OK", "OK"]:
            raise RotationError(f"Redis refused: {' '.join(said)}")

    def rabbitmq(self) -> None:
        """RabbitMQ has one password for a user: connections stay, and who connects anew meanwhile tries again.

        Requests never wait for it: they write their messages into the outbox.
        """
        self._own("rabbitmq", "RABBITMQ_URL")
        _, new = self._begin("RABBITMQ_PASSWORD")
        server = self._server("rabbitmq")
        words = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", "change_password", RabbitMQ.user]
        if server.run_as:
            words = ["setpriv", f"--reuid={server.run_as}", f"--regid={server.run_as}", "--clear-groups", *words]
        environment = server.environment()
        environment.pop("RABBITMQ_SERVER_START_ARGS")
        command = Command(words, environment)
        command.output(f"{new}\n".encode())
        self.env.set(RABBITMQ_PASSWORD=new)
        self._rewrite("rabbitmq")
        self.reload()
        self.env.set(RABBITMQ_PASSWORD_NEXT=None)
        say("RabbitMQ: the new password is the only one now")

    def _own(self, server: str, variable: str) -> None:
        if self.place.runtime.server(server) is None:
            raise RotationError(f"{variable} names your own server: change its password there and in .env, then reload")

    def _server(self, name: str) -> Server:
        server = self.place.runtime.server(name)
        assert server is not None
        return server

    def _begin(self, variable: str) -> tuple[str, str]:
        """The password of now and the next one, which an interrupted run may have chosen."""
        values = self.env.values()
        if variable not in values:
            raise RotationError(f"{variable} is not in {self.env.path}")
        new = values.get(f"{variable}_NEXT") or secrets.token_urlsafe(32)
        self.env.set(**{f"{variable}_NEXT": new})
        return values[variable], new

    def _rewrite(self, name: str) -> None:
        """The server's configuration: after a crash it must come back with the new password."""
        self.place = Native()
        self._server(name).configure()

    def everything(self) -> None:
        """Every password, one kind after the other."""
        self.roles(ROLES)
        self.redis()
        self.rabbitmq()


def _kid(key: str) -> str:
    return key.partition(":")[0]


def _waits(keys: list[str]) -> bool:
    """Whether the last key is a new one that signs nothing yet: an earlier run stopped there."""
    first, last = _kid(keys[0]), _kid(keys[-1])
    return len(keys) > 1 and bool(KID.fullmatch(last)) and (not KID.fullmatch(first) or last > first)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m ops.rotate", description=__doc__.splitlines()[0])
    kinds = top.add_subparsers(dest="what", required=True)
    for name, (variable, life) in RINGS.items():
        kind = kinds.add_parser(name, help=f"a new key in front of {variable}")
        if life is not None:
            kind.add_argument("--finish", action="store_true", help="forget the old keys")
    kinds.add_parser("passwords", help="every password: PostgreSQL's, Redis's, RabbitMQ's")
    one = kinds.add_parser("password", help="the password of one role of PostgreSQL")
    one.add_argument("name", choices=sorted(ROLES))
    kinds.add_parser("redis", help="the password of Redis")
    kinds.add_parser("rabbitmq", help="the password of RabbitMQ")
    return top


def main(arguments: list[str]) -> int:
    """Run the command line; returns the exit status."""
    chosen = parser().parse_args(arguments)
    try:
        place = find_place(None)
        if not isinstance(place, Native):
            raise RotationError(CONTAINERS)
        rotation = Rotation(place)
        if chosen.what in RINGS:
            (rotation.finish if getattr(chosen, "finish", False) else rotation.ring)(chosen.what)
        elif chosen.what == "passwords":
            rotation.everything()
        elif chosen.what == "password":
            rotation.roles([chosen.name])
        else:
            (rotation.redis if chosen.what == "redis" else rotation.rabbitmq)()
    except (RotationError, BackupError, ValueError) as error:
        print(f"HeartGuard: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("HeartGuard: interrupted. Give the same command again: it goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
