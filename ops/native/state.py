"""The state folder of the suite on this machine: whose it is, and one start or stop at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.native import settings

OWNER_MARK = "heartguard-state"  # a file in the state folder: without it nothing there is ever deleted


class StartError(RuntimeError):
    """The suite cannot be started or stopped: the message says why, for people."""


def claim_state(state: Path) -> None:
    """Make the state folder ours; refuses a folder with somebody else's files in it."""
    mark = state / OWNER_MARK
    if state.exists() and not mark.exists() and any(state.iterdir()):
        raise StartError(f"{state} holds files that are not HeartGuard's: choose another HEARTGUARD_STATE")
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o711 if os.geteuid() == 0 else 0o700)  # root's servers run under their own accounts
    (state / "log").mkdir(mode=0o700, exist_ok=True)
    mark.touch()


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """One start or stop at a time."""
    with (state / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"another start or stop of {state} is under way: wait for it") from None
        yield


def is_present() -> bool:
    """True where a suite of this machine itself runs or left its data."""
    return (settings.state_folder() / OWNER_MARK).exists()
