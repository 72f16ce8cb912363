"""`python -m ops.rotate WHAT`: new keys and passwords for the running suite, while it serves.

Nothing is ever replaced at one stroke. A key is first accepted everywhere, then signs, and goes when nothing signed by
it lives (`--finish`). A service first knows both passwords, then PostgreSQL changes, then the old one is forgotten;
Redis itself takes both for a while. Between these steps every program is restarted in turn, with the new `.env`.
An interrupted rotation goes on where it stopped when the same command is given again.
"""

from __future__ import annotations

import argparse
import sys

from auth_service.keys import RingError
from common.env_file import EnvFileError
from ops.backups.places import BackupError
from ops.containers.compose import ComposeError
from ops.rotation import keys, passwords
from ops.rotation.suites import RotationError, Suite, find_suite


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m ops.rotate", description=__doc__.splitlines()[0])
    kinds = top.add_subparsers(dest="what", required=True)
    for name, (variable, life) in keys.RINGS.items():
        kind = kinds.add_parser(name, help=f"a new key in front of {variable}")
        if life is not None:
            kind.add_argument("--finish", action="store_true", help="forget the old keys")
    kinds.add_parser("passwords", help="every password: PostgreSQL's, Redis's, RabbitMQ's")
    one = kinds.add_parser("password", help="the password of one role of PostgreSQL")
    one.add_argument("name", choices=sorted(passwords.ROLES))
    kinds.add_parser("redis", help="the password of Redis")
    kinds.add_parser("rabbitmq", help="the password of RabbitMQ")
    return top


def rotate(suite: Suite, chosen: argparse.Namespace) -> None:
    """Do what the command line says."""
    if chosen.what in keys.RINGS:
        step = keys.finish if getattr(chosen, "finish", False) else keys.rotate
        step(suite.env, suite.reload, chosen.what)
    elif chosen.what == "passwords":
        passwords.rotate_everything(suite)
    elif chosen.what == "password":
        passwords.rotate_roles(suite, [chosen.name])
    elif chosen.what == "redis":
        passwords.rotate_redis(suite)
    else:
        passwords.rotate_rabbitmq(suite)


def main(arguments: list[str]) -> int:
    """Run the command line; returns the exit status."""
    chosen = parser().parse_args(arguments)
    try:
        rotate(find_suite(), chosen)
    except (RotationError, RingError, EnvFileError, BackupError, ComposeError, ValueError) as error:
        print(f"HeartGuard: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("HeartGuard: interrupted. Give the same command again: it goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
