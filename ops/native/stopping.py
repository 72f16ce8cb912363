"""Ends the suite of this machine: its programs in their order, what is left over, and on demand the data."""

from __future__ import annotations

import shutil
from pathlib import Path

from ops.native import processes, settings, supervision
from ops.native.console import Progress, say
from ops.native.state import StartError, is_present, locked
from ops.native.supervision import Supervisor

SERVERS = ("postgresql", "redis", "rabbitmq", "mail", "storage")  # all but epmd, which outlives its broker


def stop(*, purge: bool) -> None:
    """Stop everything of this state folder; `purge` also deletes its data."""
    state = settings.state_folder()
    if not is_present():
        say(f"Nothing to stop: {state} holds no HeartGuard.")
        return
    with locked(state):
        supervisor = Supervisor(state)
        running = supervisor.is_alive() or bool(processes.started_from(state))
        stop_all(supervisor, state)
        say("Stopped." if running else "On this machine itself nothing was running.")
        if purge:
            shutil.rmtree(state)
            say(f"Deleted {state}: databases, queues, e-mails, files, logs. {settings.env_file()} stays.")
        elif running:
            say(f"The data stays in {state}.")


def stop_all(supervisor: Supervisor, state: Path) -> None:
    """First the gateway, then services, workers and servers; whatever is left then goes too."""
    if supervisor.is_alive():
        names = list(supervisor.states())
        stages = (
            ("Gateway", ["gateway"]),
            ("Services", [name for name in names if name.endswith("-web")]),
            ("Workers", [name for name in names if name.endswith("-worker")]),
            ("Servers", [name for name in names if name in SERVERS]),
            ("Port mapper", ["epmd"]),
        )
        for label, chosen in stages:
            if present := [name for name in chosen if name in names]:
                with Progress(f"Stopping: {label.lower()}"):
                    supervisor.stop(present)
        supervisor.shut_down()
    end_orphans(state)
    supervision.socket_of(state).unlink(missing_ok=True)
    (state / "supervisord.pid").unlink(missing_ok=True)
    (state / "fingerprint").unlink(missing_ok=True)


def end_orphans(state: Path) -> None:
    """End every process that carries our mark: applications before the servers they use."""
    servers = {*SERVERS, "epmd", ""}
    found = processes.started_from(state)
    processes.end([process for process in found if processes.program_of(process) not in servers])
    processes.end(processes.started_from(state), timeout=40)
    if left := processes.started_from(state):
        raise StartError(f"these processes of ours do not end: {', '.join(str(process.pid) for process in left)}")
