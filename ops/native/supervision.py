"""supervisord: its configuration, and a client for its unix socket."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport

from ops.native.processes import MARK, PROGRAM
from ops.native.servers.base import MAX_SOCKET_PATH, ROOT, Server, ServerError

RUNNING = {"RUNNING"}
UNDER_WAY = {"STARTING", "STOPPING", "BACKOFF"}


@dataclass(frozen=True)
class Program:
    """One supervised process."""

    name: str
    command: list[str]
    user: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)  # no secrets: stands in a file
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: int = 15
    start_retries: int = 3


def program_of(server: Server, state: Path) -> Program:
    """A private server as a program: it gets its own environment and nothing of ours."""
    environment = {**server.environment(), MARK: str(state), PROGRAM: server.name}
    clean = ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in environment.items())]
    return Program(
        name=server.name,
        command=[*clean, *server.command()],
        user=server.run_as,
        stop_signal=server.stop_signal,
        stop_seconds=40,
        start_retries=20,
    )


def configuration(programs: Iterable[Program], state: Path, logs: Path) -> str:
    """The text of supervisord.conf; every program waits to be started by name."""
    root = "user=root\n" if os.geteuid() == 0 else ""
    sections = [
        f"""[unix_http_server]
file={_quote(socket_of(state))}
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisord]
nodaemon=true
umask=077
silent=true
{root}logfile={_quote(logs / "supervisord.log")}
logfile_maxbytes=5MB
logfile_backups=2
pidfile={_quote(state / "supervisord.pid")}
childlogdir={_quote(logs)}
"""
    ]
    for program in programs:
        user = f"user={program.user}\n" if program.user else ""
        environment = ",".join(
            f'{name}="{value}"' for name, value in {**program.environment, PROGRAM: program.name}.items()
        )
        sections.append(
            f"""[program:{program.name}]
command={_quote(shlex.join(program.command))}
directory={_quote(ROOT if program.user is None else "/")}
{user}environment={_quote(environment)}
autostart=false
autorestart=true
startsecs=2
startretries={program.start_retries}
stopsignal={program.stop_signal.name.removeprefix("SIG")}
stopwaitsecs={program.stop_seconds}
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile={_quote(logs / f"{program.name}.log")}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""
        )
    return "\n".join(sections)


def socket_of(state: Path) -> Path:
    """Where the supervisord of a state folder listens."""
    return state / "supervisor.sock"


def _quote(value: object) -> str:
    return str(value).replace("%", "%%")


class Supervisor:
    """The supervisord of one state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state

    @property
    def _rpc(self) -> Any:
        """A fresh connection for each call: the transport does not recover from a broken one."""
        transport = SupervisorTransport(None, None, f"unix://{socket_of(self.state)}")
        return ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def is_alive(self) -> bool:
        try:
            return self._rpc.getState()["statename"] == "RUNNING"
        except (OSError, HTTPException, Fault):
            return False

    def launch(self, environment: Mapping[str, str], log: Path, timeout: float = 15) -> None:
        """Start supervisord in a session of its own, so that it outlives the terminal."""
        if len(str(socket_of(self.state))) + 12 > MAX_SOCKET_PATH:  # it binds NAME.PID first
            raise ServerError(f"HEARTGUARD_STATE={self.state} is too long for a unix socket: choose a shorter one")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.state / "supervisord.conf")],
                cwd=ROOT,
                env={**environment, MARK: str(self.state), PROGRAM: "supervisord"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while not self.is_alive():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"supervisord did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def states(self) -> dict[str, dict[str, object]]:
        """What supervisord knows of each program, by its name."""
        return {info["name"]: info for info in self._rpc.getAllProcessInfo()}

    def start(self, names: Iterable[str]) -> None:
        """Ask for every named program that is not running; returns at once."""
        for name in names:
            try:
                self._rpc.startProcess(name, False)
            except Fault as fault:
                if fault.faultCode != Faults.ALREADY_STARTED:
                    raise ServerError(f"{name} cannot be started: {fault.faultString}") from fault

    def pid_of(self, name: str) -> int:
        """The process of a running program; raises ServerError when it does not run."""
        info = self.states().get(name)
        if info is None or info["statename"] != "RUNNING":
            raise ServerError(f"{name} does not run: `python -m ops.native status` says more")
        return int(str(info["pid"]))

    def stop(self, names: Iterable[str], timeout: float = 60) -> None:
        """Stop the named programs together and wait until all are down."""
        names = set(names)
        for name in names:
            try:
                self._rpc.stopProcess(name, False)
            except Fault as fault:
                if fault.faultCode not in (Faults.NOT_RUNNING, Faults.BAD_NAME):
                    raise
        deadline = time.monotonic() + timeout
        while any(info["statename"] in RUNNING | UNDER_WAY for name, info in self.states().items() if name in names):
            if time.monotonic() > deadline:
                return  # shutdown kills what is left
            time.sleep(0.1)

    def shut_down(self, timeout: float = 60) -> None:
        """End supervisord itself, and with it whatever still runs."""
        self._rpc.shutdown()
        deadline = time.monotonic() + timeout
        while self.is_alive() or socket_of(self.state).exists():
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
