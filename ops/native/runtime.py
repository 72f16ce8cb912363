"""Starts the whole suite on one machine, and waits until it is ready."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from common.config import SERVICES
from ops.native import packages, processes, settings, supervision
from ops.native.applications import (
    answer_of,
    applications,
    fingerprint,
    gateway_host,
    is_ready,
    metrics_folder,
    present_services,
    ready_folder,
    service_of,
)
from ops.native.console import Progress, last_lines, print_addresses, say
from ops.native.servers.base import LOOPBACK, ROOT
from ops.native.settings import Runtime
from ops.native.state import StartError, claim_state, locked
from ops.native.stopping import SERVERS, end_orphans, stop_all
from ops.native.supervision import Program, Supervisor

READY_TIMEOUT_S = 120


def install() -> None:
    """Install the servers that are missing and start nothing: what the tests need of a machine."""
    with tempfile.NamedTemporaryFile(prefix="heartguard-apt-", suffix=".log", delete=False) as log:
        packages.ensure({item.server for item in packages.REQUIREMENTS}, Path(log.name))
    Path(log.name).unlink()


def start() -> None:
    """Bring everything up; where it is up already, change nothing."""
    began = time.monotonic()
    state, env = settings.state_folder(), settings.env_file()
    claim_state(state)
    with locked(state):
        if settings.make_env(env):
            say(f"Made {env} with fresh secrets.")
            if (state / "postgresql").exists():
                say(f"The data in {state} was kept under other secrets: sessions, second factors and the audit")
                say("trail's signatures need the old .env. Put it back, or go on without them.")
        runtime = settings.load(env, state)
        packages.ensure({server.name for server in runtime.servers}, runtime.logs / "apt.log")
        supervisor = Supervisor(state)
        programs = [*(supervision.program_of(server, state) for server in runtime.servers), *applications(runtime)]
        configuration = supervision.configuration(programs, state, runtime.logs)
        current = fingerprint(runtime, configuration)
        recover(supervisor, state, current)
        if is_complete(supervisor, runtime, programs):
            say("Everything runs already; nothing was changed.")
            print_addresses(runtime)
            return
        if not supervisor.is_alive():
            check_ports(runtime)
            prepare(runtime, configuration)
            supervisor.launch(runtime.supervised_environment(), runtime.logs / "supervisord-start.log")
            (state / "fingerprint").write_text(current)
        start_servers(supervisor, runtime)
        prepare_database(runtime)
        prepare_broker(runtime)
        login = first_login(runtime)
        try:
            supervisor.start([program.name for program in applications(runtime)])
            wait_ready(supervisor, runtime)
        finally:
            if login:  # shown once: also when something fails after it
                say(f"\nFirst login (shown only now)\n{login}")
        say(f"\nHeartGuard is ready after {time.monotonic() - began:.0f} s.")
        print_addresses(runtime)


def recover(supervisor: Supervisor, state: Path, current: str) -> None:
    """Clear away what an earlier run left that cannot be used."""
    if supervisor.is_alive():
        recorded = state / "fingerprint"
        if recorded.exists() and recorded.read_text() == current:
            return
        say("Settings or code changed since the last start: stopping what runs.")
        stop_all(supervisor, state)
        return
    left = processes.started_from(state)
    if left:
        say(f"An earlier run ended without its supervisor: stopping the {len(left)} processes it left.")
        end_orphans(state)


def is_complete(supervisor: Supervisor, runtime: Runtime, programs: list[Program]) -> bool:
    """True when every program runs and every server and service answers as ready."""
    if not supervisor.is_alive():
        return False
    states = supervisor.states()
    return (
        all(program.name in states and states[program.name]["statename"] == "RUNNING" for program in programs)
        and all(server.is_ready() for server in runtime.servers)
        and all(is_ready(runtime, service) for service in present_services())
    )


def check_ports(runtime: Runtime) -> None:
    """Refuse when a stranger holds a port we need, and say who."""
    wanted = {f"{name.upper()}_PORT": runtime.port(name) for name in present_services()}
    names = {
        "postgresql": ["DATABASE_PORT"],
        "redis": ["REDIS_PORT"],
        "epmd": ["RABBITMQ_EPMD_PORT"],
        "rabbitmq": ["RABBITMQ_PORT", "RABBITMQ_DISTRIBUTION_PORT"],
        "mail": ["SMTP_PORT"],
        "storage": ["STORAGE_PORT"],
    }
    for server in runtime.servers:
        wanted |= {name: runtime.ports[name] for name in names[server.name]}
    taken = []
    for name, port in wanted.items():
        host = gateway_host(runtime) if name == "GATEWAY_PORT" else LOOPBACK
        if not processes.is_free(host, port):
            taken.append(f"port {port} is in use by {processes.listener_on(port)}: stop it, or set {name}")
    if taken:
        raise StartError("\n".join(taken))


def prepare(runtime: Runtime, configuration: str) -> None:
    """Write what supervisord and the applications find on disk."""
    (runtime.state / "prometheus").mkdir(mode=0o700, exist_ok=True)
    for name in SERVICES:  # samples of dead processes would be counted again
        shutil.rmtree(metrics_folder(runtime, name), ignore_errors=True)
        metrics_folder(runtime, name).mkdir(mode=0o700)
        shutil.rmtree(ready_folder(runtime, name), ignore_errors=True)
        ready_folder(runtime, name).mkdir(mode=0o700, parents=True)
    runtime.write_settings()
    conf = runtime.state / "supervisord.conf"
    conf.write_text(configuration)
    conf.chmod(0o600)


def start_servers(supervisor: Supervisor, runtime: Runtime) -> None:
    """Start the runtime's own servers and wait until they are ready; what does not get there is a StartError."""
    if not runtime.servers:
        return
    with Progress("Servers") as progress:
        for stage in (["epmd"], SERVERS):
            states = supervisor.states()
            chosen = [server for server in runtime.servers if server.name in stage]
            for server in chosen:
                if states[server.name]["statename"] != "RUNNING":
                    server.prepare()
            supervisor.start([server.name for server in chosen])
            wait_for({server.name: server.is_ready for server in chosen}, supervisor, runtime, progress)
        for server in runtime.servers:
            server.after_start()


def prepare_database(runtime: Runtime) -> None:
    """Schemas and roles as the superuser, then the migrations."""
    if password := runtime.variables.get("POSTGRES_PASSWORD"):
        own = runtime.server("postgresql") is not None
        environment = {
            **runtime.environment,
            "PGHOST": runtime.environment["DATABASE_HOST"],
            "PGPORT": runtime.environment["DATABASE_PORT"],
            "PGUSER": "postgres" if own else runtime.variables.get("POSTGRES_USER", "postgres"),
            "PGPASSWORD": password,
        }
        run("Schemas and roles", ["bash", str(ROOT / "ops/postgres/init.sh")], environment)
    run("Migrations", [sys.executable, "-m", "common.migrate"], runtime.environment)


def prepare_broker(runtime: Runtime) -> None:
    """Every exchange and queue, before anybody publishes."""
    run("Queues", [sys.executable, "-m", "common.messaging", "declare"], runtime.environment)


def first_login(runtime: Runtime) -> str:
    """The generated password of the first superadmin, at the first start only."""
    if not (ROOT / "auth_service" / "bootstrap.py").exists():
        return ""
    return run("First superadmin", [sys.executable, "-m", "auth_service.bootstrap"], runtime.environment)


def run(what: str, command: list[str], environment: Mapping[str, str]) -> str:
    """Run one step to its end; returns what it printed. Raises StartError with its last lines."""
    with Progress(what):
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = (done.stdout + done.stderr).strip().splitlines()
            raise StartError(f"{what} failed:\n" + "\n".join(lines[-15:]))
    return done.stdout.strip()


def wait_ready(supervisor: Supervisor, runtime: Runtime) -> None:
    """Return when every service answers /ready with 200 and every worker stays up."""
    programs = applications(runtime)
    services: dict[str, Callable[[], bool]] = {}
    workers: dict[str, Callable[[], bool]] = {}
    for program in programs:
        if service := service_of(program.name):
            services[program.name] = partial(is_ready, runtime, service)
        else:
            workers[program.name] = partial(_is_running, supervisor, program.name)
    for label, checks in (("Services", services), ("Workers", workers)):
        with Progress(label) as progress:
            wait_for(checks, supervisor, runtime, progress)


def _is_running(supervisor: Supervisor, name: str) -> bool:
    return supervisor.states()[name]["statename"] == "RUNNING"


def wait_for(
    checks: Mapping[str, Callable[[], bool]], supervisor: Supervisor, runtime: Runtime, progress: Progress
) -> None:
    """Poll until each program passes its check. Raises StartError once supervisord has given one up."""
    waiting = dict(checks)
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        waiting = {name: check for name, check in waiting.items() if not check()}
        progress.show(len(checks) - len(waiting), len(checks), list(waiting))
        if not waiting:
            return
        states = supervisor.states()
        dead = [name for name in waiting if states[name]["statename"] in ("FATAL", "EXITED")]
        if dead or time.monotonic() > deadline:
            raise StartError("\n\n".join(diagnosis(runtime, name) for name in dead or waiting))
        time.sleep(0.2)


def diagnosis(runtime: Runtime, program: str) -> str:
    """Why a program is not ready: its own answer if it gives one, else the end of its log."""
    log = runtime.logs / f"{program}.log"
    if service := service_of(program):
        status, body = answer_of(runtime, service)
        if status:
            return f"{program} is not ready: it answers {status} {body.strip()}\n(log: {log})"
    return f"{program} is not ready. The end of {log}:\n{last_lines(log, 15)}"
