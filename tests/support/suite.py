"""Real processes of the suite for tests: web servers and workers on private ports, restarted when they are killed."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from common.config import SERVICE_PORTS, package_of
from ops.native.servers.base import LOOPBACK, ROOT, free_ports
from tests.support.servers import SessionServers

READY_S = 60.0
STOP_S = 15.0


class Suite:
    """Starts and stops processes of services; every process ends with `stop()`."""

    def __init__(self, servers: SessionServers, folder: Path, extra: dict[str, str] | None = None) -> None:
        self.folder = folder
        ports = dict(zip(SERVICE_PORTS, free_ports(len(SERVICE_PORTS)), strict=True))
        self.ports = ports
        self.environment = {
            **os.environ,
            **servers.environment,
            "HEARTGUARD_ENV_FILE": os.devnull,
            "TIMESERIES_PATH": str(folder / "series.db"),
            "DATABASE_POOL": "8",
            **{f"{name.upper()}_PORT": str(port) for name, port in ports.items()},
            **(extra or {}),
        }
        self.environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, tuple[list[str], dict[str, str]]] = {}
        self.kills = 0
        self.killed: Counter[str] = Counter()

    def start_web(self, *names: str) -> None:
        """gunicorn of each service, and granian for the gateway; returns when all are ready."""
        for name in names:
            command = [sys.executable, "-m", "gunicorn", "-c", "common/gunicorn.py", f"{package_of(name)}.app:app"]
            if name == "gateway":
                command = [sys.executable, "-m", "gateway.serve"]
            self._launch(f"{name}-web", command, {"PORT": str(self.ports[name])})
        for name in names:
            self.wait_ready(name)

    def start_workers(self, *names: str, failpoints: str = "") -> None:
        """The worker of each service, with failpoints armed."""
        for name in names:
            command = [sys.executable, "-m", "common.worker", name]
            self._launch(f"{name}-worker", command, {"HEARTGUARD_FAILPOINTS": failpoints})

    def _launch(self, name: str, command: list[str], extra: dict[str, str]) -> None:
        self._commands[name] = (command, extra)
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command, cwd=ROOT, env={**self.environment, **extra}, stdout=log, stderr=subprocess.STDOUT
            )

    def restart(self, name: str) -> float:
        """SIGTERM, and started again as soon as it has ended, as a supervisor does; returns the seconds it took."""
        process, began = self._running[name], time.monotonic()
        process.terminate()
        process.wait(STOP_S)
        seconds = time.monotonic() - began
        # One that was only starting has no handler yet.
        assert process.returncode in (0, -signal.SIGTERM), f"{name} did not end well: {self.last_words(name)}"
        self._launch(name, *self._commands[name])
        return seconds

    def revive(self, most_kills: int) -> None:
        """Start again what was killed, counting; after `most_kills` nothing is armed any more."""
        for name, process in list(self._running.items()):
            if process.poll() is None:
                continue
            assert process.returncode == -signal.SIGKILL, f"{name} ended by itself: {self.last_words(name)}"
            self.kills += 1
            self.killed[name] += 1
            command, extra = self._commands[name]
            if self.kills >= most_kills:
                extra = {**extra, "HEARTGUARD_FAILPOINTS": ""}
            self._launch(name, command, extra)
        if self.kills >= most_kills:
            self._disarm()

    def _disarm(self) -> None:
        for name, (command, extra) in list(self._commands.items()):
            if extra.get("HEARTGUARD_FAILPOINTS"):
                self._running[name].kill()
                self.killed[name] += 1
                self._running[name].wait()
                self._launch(name, command, {**extra, "HEARTGUARD_FAILPOINTS": ""})

    def url(self, name: str) -> str:
        """The base address of a service."""
        return f"http://{LOOPBACK}:{self.ports[name]}"

    def wait_ready(self, name: str) -> None:
        """Return when the service's /ready says so."""
        deadline = time.monotonic() + READY_S
        while True:
            try:
                connection = http.client.HTTPConnection(LOOPBACK, self.ports[name], timeout=2)
                connection.request("GET", "/ready")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            process = self._running[f"{name}-web"]
            assert process.poll() is None, f"{name} ended: {self.last_words(f'{name}-web')}"
            assert time.monotonic() < deadline, f"{name} is not ready: {self.last_words(f'{name}-web')}"
            time.sleep(0.1)

    def last_words(self, name: str) -> str:
        """The end of a process's log."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def pids(self) -> Iterable[int]:
        """Every process that runs."""
        return [process.pid for process in self._running.values() if process.poll() is None]

    def stop(self) -> None:
        """End everything, workers first."""
        for name in sorted(self._running, key=lambda name: not name.endswith("-worker")):
            if self._running[name].poll() is None:
                self._running[name].terminate()
        for process in self._running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
