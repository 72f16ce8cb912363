"""What an operator's shell holds, for tests that run the project's own commands on a suite of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops.native.servers.base import free_ports
from ops.native.settings import PORT_DEFAULTS

# Other variables of a test run name the servers of its session.
PASSED_ON = {"PATH", "HOME", "LANG", "TMPDIR"}


def environment_of(state: Path) -> dict[str, str]:
    """The environment of a suite with private ports and this state folder."""
    ports = zip(PORT_DEFAULTS, map(str, free_ports(len(PORT_DEFAULTS))), strict=True)
    passed_on = {name: os.environ[name] for name in PASSED_ON & os.environ.keys()}
    return {**passed_on, **dict(ports), "HEARTGUARD_STATE": str(state)}


def leave_session(patch: pytest.MonkeyPatch) -> None:
    """Take away the session's variables until `patch` is undone: they would overrule an `.env`."""
    for name in list(os.environ):
        if name not in PASSED_ON and not name.startswith("PYTEST"):
            patch.delenv(name)
