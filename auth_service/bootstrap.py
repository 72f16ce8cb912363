"""`python -m auth_service.bootstrap`: the first superadmin, whose generated password is printed once.

A second run changes nothing. With `--reset-password` the superadmin gets a new password, loses the second factor,
and is logged out everywhere: for whoever lost them and has a shell here.
"""

from __future__ import annotations

import secrets
import sys

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from auth_service import queries, second_factor, throttle
from auth_service.config import Settings
from auth_service.models import ACTIVE, Role, User, UserRole, UserSession
from auth_service.passwords import PasswordHasher
from auth_service.roles import SUPERADMIN
from auth_service.sessions import revoke_access, revoke_sessions
from common.auth import service_caller
from common.database import ALL_ORGANIZATIONS, Database
from common.outbox import record
from common.vault import Vault

_CALLER = service_caller("auth", request_id="bootstrap")


def make_superadmin(session: Session, email: str, password_hash: str) -> bool:
    """Make the first superadmin; False, and nothing done, when there is one."""
    holds = exists().where(UserRole.role_id == Role.id, Role.code == SUPERADMIN)
    if session.scalar(select(holds)):
        return False
    role = queries.get_role(session, SUPERADMIN, lock=True)
    user = User(email=email, name="Superadmin", password_hash=password_hash, held=[role])
    session.add(user)
    record(session, _CALLER, "user.created", user, {"roles": user.roles})
    return True


def reset_superadmin(session: Session, vault: Vault, email: str, password_hash: str) -> None:
    """Give the superadmin with this address a new password; raises SystemExit when there is none."""
    user = queries.find_user_by_email(session, email, lock=True)
    if user is None or SUPERADMIN not in user.roles:
        raise SystemExit(f"bootstrap: no superadmin has the address {email} (SUPERADMIN_EMAIL)")
    user.password_hash, user.status = password_hash, ACTIVE
    second_factor.remove(session, user)
    throttle.forgive(session, throttle.source_of(vault, user.email))
    revoke_sessions(session, UserSession.user_id == user.id)
    revoke_access(session, user)
    record(session, _CALLER, "user.password_reset", user)


def main(arguments: list[str]) -> int:
    """Run the command line; returns its exit status."""
    if arguments not in ([], ["--reset-password"]):
        print("usage: python -m auth_service.bootstrap [--reset-password]", file=sys.stderr)
        return 64
    settings = Settings.load("auth")
    database = Database(settings, pool_size=1)
    email, password = settings.superadmin_email.lower(), secrets.token_urlsafe(15)
    password_hash = PasswordHasher().hash(password)
    with database.transaction(ALL_ORGANIZATIONS) as session:
        made = True
        if arguments:
            reset_superadmin(session, Vault(settings.secret_keys), email, password_hash)
        else:
            made = make_superadmin(session, email, password_hash)
    if made:
        print(f"superadmin: {email}\npassword (shown once): {password}")
    else:
        print("bootstrap: there is a superadmin; nothing changed", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
