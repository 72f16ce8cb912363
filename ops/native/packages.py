"""Installs the Debian packages of missing servers, without letting Debian run any of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.native.console import Progress, last_lines
from ops.native.servers.postgresql import PostgreSQL
from ops.native.servers.rabbitmq import RabbitMQ

POLICY = Path("/usr/sbin/policy-rc.d")
SAVED_POLICY = Path("/usr/sbin/policy-rc.d.heartguard")
DENY = "#!/bin/sh\n# HeartGuard: temporary, while it installs server packages that it runs itself.\nexit 101\n"


class MissingPackages(RuntimeError):
    """Servers are not installed and cannot be installed from here."""


@dataclass(frozen=True)
class Requirement:
    """A server the runtime starts or the tests' browser, the package that brings it, and the way around it."""

    server: str
    package: str
    variable: str = ""  # names an existing server instead

    def is_met(self) -> bool:
        if self.server == "postgresql":
            return PostgreSQL.programs() is not None and shutil.which("psql") is not None
        if self.server == "rabbitmq":
            return RabbitMQ.script.exists()
        if self.server == "chromium":
            return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None
        return shutil.which("redis-server") is not None


REQUIREMENTS = (
    Requirement("postgresql", "postgresql", "DATABASE_HOST"),
    Requirement("redis", "redis-server", "REDIS_URL"),
    Requirement("rabbitmq", "rabbitmq-server", "RABBITMQ_URL"),
    Requirement("chromium", "chromium-driver"),  # for the tests alone
)


def ensure(servers: set[str], log: Path) -> None:
    """Install what the named servers need. Raises MissingPackages with what to do."""
    restore_policy()
    missing = [item for item in REQUIREMENTS if item.server in servers and not item.is_met()]
    if not missing:
        return
    packages = [item.package for item in missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        reason = "only root can install" if shutil.which("apt-get") else "there is no apt to install"
        variables = ", ".join(item.variable for item in missing if item.variable)
        instead = (
            f", or use existing servers: set {variables} in .env (.env.example explains them)" if variables else ""
        )
        raise MissingPackages(
            f"{reason} the missing packages {' '.join(packages)}. Either run this once as root, or let somebody\n"
            f"install them{instead}."
        )
    with Progress(f"Installing {', '.join(packages)} by apt"), denied_autostart(), log.open("wb") as output:
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["apt-get", "-q", *command],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if done.returncode and command[0] == "install":
                raise MissingPackages(f"apt-get could not install {' '.join(packages)}:\n{last_lines(log, 15)}")
    for package in packages:  # nor at the next boot: ours run on their own ports and folders
        subprocess.run(["update-rc.d", package, "disable"], capture_output=True, check=False)
    if still := [item.package for item in missing if not item.is_met()]:
        raise MissingPackages(f"{' '.join(still)} installed, but their programs are not where they should be")


@contextmanager
def denied_autostart() -> Iterator[None]:
    """Debian starts a server when its package is installed, unless policy-rc.d says no."""
    if POLICY.exists():
        POLICY.rename(SAVED_POLICY)
    POLICY.write_text(DENY)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        restore_policy()


def restore_policy() -> None:
    """Take our policy back, also one that an interrupted run left."""
    if os.geteuid() != 0:
        return
    if POLICY.exists() and POLICY.read_text() == DENY:
        POLICY.unlink()
    if SAVED_POLICY.exists():
        SAVED_POLICY.rename(POLICY)
