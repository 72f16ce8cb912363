"""A private PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from ops.native.servers.base import LOOPBACK, MAX_SOCKET_PATH, Server, ServerError


class PostgreSQL(Server):
    """PostgreSQL with SCRAM over loopback TCP; its owner alone gets in through the socket in its folder."""

    name = "postgresql"
    account = "postgres"
    stop_signal = signal.SIGINT  # "fast": rolls open transactions back, then stops

    def __init__(
        self, folder: Path, port: int, password: str, *, database: str = "heartguard", durable: bool = True
    ) -> None:
        super().__init__(folder, port, password)
        self.database = database
        self.durable = durable
        self.data = folder / "data"

    @staticmethod
    def programs() -> Path | None:
        """The folder of the newest installed server programs."""
        found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
        if found:
            return max(found, key=lambda path: int(path.parent.name))
        on_path = shutil.which("postgres")
        return Path(on_path).resolve().parent if on_path else None

    @property
    def url(self) -> str:
        """SQLAlchemy address of the database as its superuser."""
        return f"postgresql+psycopg2://postgres:{self.password}@{LOOPBACK}:{self.port}/{self.database}"

    def command(self) -> list[str]:
        return [str(self._program("postgres")), "-D", str(self.data)]

    def configure(self) -> None:
        if len(str(self._socket)) > MAX_SOCKET_PATH:
            raise ServerError(f"the path of the socket {self._socket} is longer than {MAX_SOCKET_PATH} characters")
        if not (self.data / "PG_VERSION").exists():
            shutil.rmtree(self.data, ignore_errors=True)  # what an interrupted initdb left
            fresh = self.folder / "initdb"
            shutil.rmtree(fresh, ignore_errors=True)
            self._run(
                "initdb",
                "-D",
                str(fresh),
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "--data-checksums",
                "--auth-local=peer",
                "--auth-host=scram-sha-256",
                *([] if self.durable else ["--no-sync"]),
            )
            fresh.rename(self.data)
        installed = self._program("postgres").parent.parent.name
        written = (self.data / "PG_VERSION").read_text().strip()
        if installed.isdigit() and installed != written:
            raise ServerError(
                f"{self.data} was written by PostgreSQL {written}, installed is {installed}: pg_upgrade it"
            )
        owner = self.run_as or pwd.getpwuid(os.geteuid()).pw_name
        self._write(self.data / "pg_ident.conf", f"owner {owner} postgres\n")
        self._write(
            self.data / "pg_hba.conf",
            f"local all postgres peer map=owner\nhost all all {LOOPBACK}/32 scram-sha-256\n",
        )
        self._write(self.data / "postgresql.auto.conf", self._settings())
        self._drop_stale_lock()

    def answers(self) -> bool:
        """Accepting comes after listening: recovery may lie between."""
        done = subprocess.run(
            [self._program("pg_isready"), "-q", "-h", LOOPBACK, "-p", str(self.port), "-t", "2"], check=False
        )
        return done.returncode == 0

    def after_start(self) -> None:
        """Set the superuser's password, so that a changed `.env` is obeyed."""
        self._run(
            "psql",
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            str(self.folder),
            "-p",
            str(self.port),
            "-U",
            "postgres",
            "-d",
            "postgres",
            stdin=f"ALTER ROLE postgres PASSWORD '{self.password.replace(chr(39), chr(39) * 2)}';",
        )

    @property
    def _socket(self) -> Path:
        return self.folder / f".s.PGSQL.{self.port}"

    def _settings(self) -> str:
        """Sized for eleven services (8 threads each) and their workers beside everything else on one machine.

        Failed statements and their messages hold clinical values, so the log leaves them to the client.
        """
        durable = "on" if self.durable else "off"
        return f"""# Written at every start.
listen_addresses = '{LOOPBACK}'
port = {self.port}
unix_socket_directories = '{self.folder}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 300
shared_buffers = '128MB'
work_mem = '4MB'
maintenance_work_mem = '32MB'
max_wal_size = '512MB'
jit = off
fsync = {durable}
full_page_writes = {durable}
synchronous_commit = {durable}
timezone = 'UTC'
log_timezone = 'UTC'
logging_collector = off
log_line_prefix = '%m [%p] %u@%d '
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = terse
log_checkpoints = off
"""

    def _drop_stale_lock(self) -> None:
        """After a power cut another process may wear the old postmaster's pid; PostgreSQL would then refuse."""
        lock = self.data / "postmaster.pid"
        if not lock.exists():
            return
        pid = lock.read_text().split("\n", 1)[0].strip()
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            command = []
        if str(self.data) in command:
            raise ServerError(f"PostgreSQL of {self.data} is running already, as process {pid}")
        lock.unlink()

    def _program(self, name: str) -> Path:
        folder = self.programs()
        if folder is None:
            raise ServerError("PostgreSQL is not installed")
        return folder / name

    def _run(self, program: str, *arguments: str, stdin: str = "") -> None:
        done = subprocess.run(
            [self._program(program), *arguments],
            cwd=self.folder,
            env=self.environment(),
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            **self._identity(),
        )
        if done.returncode:
            raise ServerError(f"{program} failed: {(done.stderr or done.stdout).strip()}")
