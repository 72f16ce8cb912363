"""Named places where a crash test may kill the process; inert unless `HEARTGUARD_FAILPOINTS` arms them."""

from __future__ import annotations

import os
import random
import signal

_ARMED: dict[str, float] = {}
for _entry in filter(None, os.environ.get("HEARTGUARD_FAILPOINTS", "").split(",")):
    _name, _, _probability = _entry.partition("=")
    _ARMED[_name] = float(_probability or 1)

NAMES = frozenset(
    {
        "relay.before_publish",
        "relay.between_publish_and_mark",
        "consumer.before_commit",
        "consumer.between_commit_and_ack",
        "delivery.between_claim_and_send",
        "delivery.between_send_and_mark",
    }
)


def failpoint(name: str) -> None:
    """End this process with SIGKILL here when `name` is armed, with its probability."""
    if _ARMED and random.random() < _ARMED.get(name, 0.0):
        os.kill(os.getpid(), signal.SIGKILL)
