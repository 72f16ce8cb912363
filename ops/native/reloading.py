"""Brings new code and the current `.env` into a running suite, program by program, without an interruption."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable

import psutil

from common.config import package_of
from ops.native import settings, supervision
from ops.native.applications import applications, fingerprint, is_ready, ready_folder, service_of
from ops.native.console import Progress, last_lines, say
from ops.native.runtime import prepare_broker, prepare_database, run
from ops.native.settings import Runtime
from ops.native.state import StartError, locked
from ops.native.supervision import Program, Supervisor

PATIENCE_S = 60.0


def reload(chosen: list[str]) -> None:
    """Migrate, then replace the named programs (all without a name) one by one.

    A web process keeps its port: a new worker answers before an old one stops accepting and ends its requests. A
    background worker stops orderly and starts again; its messages wait in their queues.
    """
    began = time.monotonic()
    state, env = settings.state_folder(), settings.env_file()
    if not Supervisor(state).is_alive():
        raise StartError(f"HeartGuard does not run ({state}): `python -m ops.native start` starts it")
    with locked(state):
        runtime, supervisor = settings.load(env, state), Supervisor(state)
        programs = {program.name: program for program in applications(runtime)}
        if unknown := [name for name in chosen if name not in programs]:
            raise StartError(f"no program is called {', '.join(unknown)}; there are {', '.join(programs)}")
        servers = [supervision.program_of(server, state) for server in runtime.servers]
        configuration = supervision.configuration([*servers, *programs.values()], state, runtime.logs)
        if configuration != (state / "supervisord.conf").read_text():
            raise StartError("ports, servers or the set of programs changed: that needs a stop and a start")
        wanted = [programs[name] for name in chosen] or list(programs.values())
        check(runtime, wanted)
        runtime.write_settings()
        prepare_database(runtime)
        prepare_broker(runtime)
        # The gateway last: it is the one that knows new routes.
        for program in sorted(wanted, key=lambda program: program.name == "gateway"):
            with Progress(f"Reloading {program.name}"):
                replace(supervisor, runtime, program)
        if not chosen:
            (state / "fingerprint").write_text(fingerprint(runtime, configuration))
        say(f"Reloaded after {time.monotonic() - began:.0f} s.")


def check(runtime: Runtime, wanted: list[Program]) -> None:
    """Load the new code with the new settings once, beside what runs. Raises StartError before anything was touched."""
    for service in sorted({program.name.rpartition("-")[0] or program.name for program in wanted}):
        program = next(program for program in wanted if program.name.startswith(service))
        environment = {**runtime.environment, **program.environment}
        for name in ("PROMETHEUS_MULTIPROC_DIR", "HEARTGUARD_READY_FOLDER"):
            environment.pop(name, None)
        run(f"Checking {service}", [sys.executable, "-c", f"import {package_of(service)}.app"], environment)


def replace(supervisor: Supervisor, runtime: Runtime, program: Program) -> None:
    """Put new processes in the place of a program's old ones."""
    if program.name.endswith("-worker"):
        supervisor.stop([program.name])
        supervisor.start([program.name])
        await_(lambda: supervisor.states()[program.name]["statename"] == "RUNNING", runtime, program)
        return
    service = service_of(program.name)
    assert service is not None
    master = psutil.Process(supervisor.pid_of(program.name))
    old = {child.pid for child in serving(master)}
    if service == "gateway":
        master.send_signal(signal.SIGHUP)
    else:
        for _ in old:
            replace_one(master, runtime, program)
    await_(lambda: not any(psutil.pid_exists(pid) for pid in old) and is_ready(runtime, service), runtime, program)


def replace_one(master: psutil.Process, runtime: Runtime, program: Program) -> None:
    """One more gunicorn worker, and when it has loaded the application the oldest one less."""
    service = service_of(program.name)
    assert service is not None
    folder = ready_folder(runtime, service)
    before = {child.pid for child in serving(master)}
    master.send_signal(signal.SIGTTIN)

    def has_newcomer() -> bool:
        return any((folder / str(child.pid)).exists() for child in serving(master) if child.pid not in before)

    await_(has_newcomer, runtime, program)
    master.send_signal(signal.SIGTTOU)
    await_(lambda: len(serving(master)) <= len(before), runtime, program)


def serving(master: psutil.Process) -> list[psutil.Process]:
    """The processes of a web server that answer requests. Raises StartError when the server itself has ended."""
    found = []
    try:
        children = master.children()
    except psutil.NoSuchProcess as error:
        raise StartError(f"process {error.pid} ended during the reload: see `python -m ops.native status`") from error
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):  # an old one that has just ended: what we wait for
            if "resource_tracker" not in " ".join(child.cmdline()):
                found.append(child)
    return found


def await_(condition: Callable[[], bool], runtime: Runtime, program: Program) -> None:
    """Poll until the condition holds. Raises StartError with the end of the program's log."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            log = runtime.logs / f"{program.name}.log"
            raise StartError(f"{program.name} was not replaced in time. The end of {log}:\n{last_lines(log, 15)}")
        time.sleep(0.1)
