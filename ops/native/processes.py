"""Finds the processes this suite started, and who else listens on a port. Nothing is ever chosen by its name."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable
from pathlib import Path

import psutil

MARK = "HEARTGUARD_RUN"  # in the environment of every process we start: the state folder
PROGRAM = "HEARTGUARD_PROGRAM"  # and which of our programs it is
SERVER_ACCOUNTS = {"postgres", "redis", "rabbitmq"}


def started_from(state: Path) -> list[psutil.Process]:
    """Every living process of the suite whose state folder this is."""
    return [process for process in psutil.process_iter() if _is_ours(process, str(state))]


def _is_ours(process: psutil.Process, state: str) -> bool:
    try:
        return process.environ().get(MARK) == state and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
    except psutil.AccessDenied:
        return _is_our_server(process, state)


def _is_our_server(process: psutil.Process, state: str) -> bool:
    """Root in a container may not read the environment of other accounts, but their command lines."""
    try:
        return process.username() in SERVER_ACCOUNTS and any(state in part for part in process.cmdline())
    except psutil.Error:
        return False


def end(processes: Iterable[psutil.Process], *, timeout: float = 20) -> None:
    """Stop the topmost of these processes orderly, then all that are left by force."""
    processes = list(processes)
    pids = {process.pid for process in processes}
    for process in processes:
        try:
            if process.ppid() not in pids:
                # SIGTERM makes PostgreSQL wait for its clients, SIGINT does not.
                process.send_signal(signal.SIGINT if process.name() == "postgres" else signal.SIGTERM)
        except psutil.NoSuchProcess:
            continue
    _, left = psutil.wait_procs(processes, timeout)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, 5)


def program_of(process: psutil.Process) -> str:
    """The name of our program, or "" where it cannot be read."""
    try:
        return process.environ().get(PROGRAM, "")
    except psutil.Error:
        return ""


def is_free(host: str, port: int) -> bool:
    """Whether we could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise PermissionError(f"port {port} needs root (ports below 1024 do)") from error
        except OSError:
            return False
        return True


def listener_on(port: int) -> str:
    """Who listens on a port, for people: pid and command where we may see them."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                command = " ".join(psutil.Process(connection.pid).cmdline())
                return f"process {connection.pid} ({command[:80]})"
    except psutil.Error:
        pass
    return "a process of another user" if os.geteuid() else "a process outside this container"
