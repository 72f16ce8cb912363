"""Real worker processes for tests, and waiting for what they do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class WorkerProcess:
    """`python -m common.worker SERVICE` with short leases."""

    def __init__(self, log: Path, service: str, failpoints: str = "") -> None:
        self._log = log.open("ab")
        environment = {**os.environ, "DELIVERY_LEASE_S": "1", "HEARTGUARD_FAILPOINTS": failpoints}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "common.worker", service],
            cwd=ROOT,
            env=environment,
            stdout=self._log,
            stderr=self._log,
        )

    def wait(self) -> int:
        """Its exit status, once it has ended by itself."""
        return self._process.wait(30)

    def stop(self) -> None:
        """End it orderly."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)
        self._log.close()


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
