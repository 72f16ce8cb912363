"""What all private servers share: preparing, starting, waiting for and stopping a process."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
LOOPBACK = "127.0.0.1"
MAX_SOCKET_PATH = 107  # sun_path of a unix socket


class ServerError(RuntimeError):
    """A private server could not be prepared, started or stopped."""


class Server:
    """One private server: `prepare()` writes its files, `command()` runs it in the foreground."""

    name: str
    account: str | None = None  # system account that runs it when we are root
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, port: int, password: str = "") -> None:
        self.folder = folder
        self.port = port
        self.password = password
        self._process: subprocess.Popen[bytes] | None = None

    # -- what each server says of itself

    def command(self) -> list[str]:
        raise NotImplementedError

    def configure(self) -> None:
        """Write configuration and data files; the folder exists and belongs to the account."""

    def answers(self) -> bool:
        """Ask the server itself, with its own protocol, whether it serves."""
        raise NotImplementedError

    def after_start(self) -> None:
        """Finish what only a running server can do."""

    def environment(self) -> dict[str, str]:
        """The whole environment of the process: nothing of ours, no secret, is inherited."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
        }

    # -- common

    @property
    def run_as(self) -> str | None:
        """The account to switch to: None unless we are root."""
        return self.account if os.geteuid() == 0 else None

    @property
    def log_file(self) -> Path:
        return self.folder / "server.log"

    def prepare(self) -> None:
        """Make the folder and its files; safe to repeat while the server is stopped."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.run_as:
            uid = pwd.getpwnam(self.run_as).pw_uid
            for parent in self.folder.parents:
                found = parent.stat()
                if not found.st_mode & stat.S_IXOTH and found.st_uid != uid:
                    raise ServerError(f"{self.name} runs as user {self.run_as}, which may not pass through {parent}")
        self.folder.chmod(0o700)
        self._own(self.folder)
        self.configure()

    def launch(self, *, tied: bool = False) -> None:
        """Start the process and return at once; `tied` ends it with the thread that called."""
        if self.is_running:
            raise ServerError(f"{self.name} runs already, as process {self.pid}")
        self.prepare()
        lifeline = ["setpriv", "--pdeathsig", self.stop_signal.name] if tied else []
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [*lifeline, *self.command()],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._identity(),
            )

    def wait_ready(self, timeout: float = 60) -> None:
        """Return when the server serves; raises ServerError with its last lines when it does not."""
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if self._process and not self.is_running:
                raise ServerError(f"{self.name} ended with status {self._process.returncode}:\n{self._last_lines()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} is not ready after {timeout:.0f} s:\n{self._last_lines()}")
            time.sleep(0.05)
        self.after_start()

    def start(self, *, tied: bool = False) -> None:
        self.launch(tied=tied)
        self.wait_ready()

    def stop(self, timeout: float = 30) -> None:
        """Stop orderly, by force after `timeout` seconds."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        if self._process:
            self._process.kill()
            self._process.wait()

    @property
    def is_running(self) -> bool:
        """Whether the process that this object started lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def is_ready(self) -> bool:
        try:
            return self.answers()
        except OSError:
            return False

    def _identity(self) -> dict[str, Any]:
        if not self.run_as:
            return {}
        account = pwd.getpwnam(self.run_as)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def _own(self, path: Path) -> None:
        if self.run_as:
            shutil.chown(path, self.run_as, pwd.getpwnam(self.run_as).pw_gid)

    def _write(self, path: Path, text: str) -> None:
        """Write a file that only the server's account may read."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        self._own(path)

    def _last_lines(self, count: int = 15) -> str:
        if not self.log_file.exists():
            return "(no log)"
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-count:])


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, below the range that outgoing connections take theirs from."""
    held: list[socket.socket] = []
    while len(held) < count:
        candidate = socket.socket()
        try:
            candidate.bind((LOOPBACK, 20000 + secrets.randbelow(12000)))
        except OSError:
            candidate.close()
            continue
        held.append(candidate)
    ports = [candidate.getsockname()[1] for candidate in held]
    for candidate in held:
        candidate.close()
    return ports
