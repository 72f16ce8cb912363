"""What the operator sees: progress, addresses, state, e-mails and logs."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil

from ops.native import mail
from ops.native.applications import gateway_host, is_ready, present_services, service_of
from ops.native.processes import started_from
from ops.native.servers.base import LOOPBACK
from ops.native.settings import Runtime, env_file, load, state_folder
from ops.native.supervision import Supervisor


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def confirmed(question: str, *, assume_yes: bool) -> bool:
    """Ask before data is deleted; without a terminal only --yes will do."""
    if assume_yes:
        return True
    if not sys.stdin.isatty():
        print("Deleting all data needs --yes where nobody can be asked.", file=sys.stderr)
        return False
    return input(f"{question} Type yes: ").strip().lower() == "yes"


class Progress:
    """One line that tells how far a step is: rewritten on a terminal, printed once elsewhere."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.tail = ""

    def __enter__(self) -> Progress:
        self.began = time.monotonic()
        if sys.stdout.isatty():
            print(f"{self.what} ...", end="", flush=True)
        return self

    def show(self, done: int, total: int, waiting: list[str]) -> None:
        self.tail = f" {done}/{total}"
        if sys.stdout.isatty():
            print(f"\r\033[K{self.what}{self.tail}  {' '.join(waiting)[:60]}", end="", flush=True)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        start = "\r\033[K" if sys.stdout.isatty() else ""
        outcome = "failed" if kind else "done"
        print(f"{start}{self.what}{self.tail} {outcome} ({time.monotonic() - self.began:.1f} s)", flush=True)


def print_addresses(runtime: Runtime) -> None:
    """Print where everything listens, and where logs and state are."""
    hosts = {"gateway": gateway_host(runtime)}
    rows = [(name, f"http://{hosts.get(name, LOOPBACK)}:{runtime.port(name)}") for name in present_services()]
    rows += [(server.name, f"{LOOPBACK}:{server.port}") for server in runtime.servers if server.name != "epmd"]
    rows += [
        ("logs", f"{runtime.logs}  (.venv/bin/python -m ops.native logs SERVICE)"),
        ("state", f"{runtime.state}  (kept by ./stop_services.sh, deleted by --purge)"),
    ]
    if catcher := runtime.server("mail"):
        rows.append(("e-mails", f"{catcher.folder / 'messages'}  (.venv/bin/python -m ops.native mail)"))
    say("\n".join(f"  {name:<14} {where}" for name, where in rows))


def status() -> bool:
    """Print each program's state, memory and readiness; True when all is well."""
    state = state_folder()
    supervisor = Supervisor(state)
    if not supervisor.is_alive():
        left = started_from(state) if state.exists() else []
        say(f"HeartGuard does not run ({state})." + (f" {len(left)} processes are left over." if left else ""))
        return False
    runtime = load(env_file(), state)
    well, total = True, 0.0
    say(f"  {'program':<22} {'state':<9} {'ready':<6} {'pid':>7} {'MiB':>6}")
    for name, info in supervisor.states().items():
        server, service = runtime.server(name), service_of(name)
        ready = "-"
        if server or service:
            ready = "yes" if (server.is_ready() if server else is_ready(runtime, str(service))) else "no"
        megabytes = proportional_memory(int(str(info["pid"]))) if info["pid"] else 0.0
        total += 0 if server else megabytes
        well = well and info["statename"] == "RUNNING" and ready != "no"
        say(f"  {name:<22} {info['statename']:<9} {ready:<6} {info['pid']:>7} {megabytes:>6.0f}")
    say(f"  memory of services and workers: {total:.0f} MiB")
    return well


def proportional_memory(pid: int) -> float:
    """MiB of a process and its children, shared pages divided among their users (PSS)."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(member.memory_full_info().pss for member in family) / 2**20
    except psutil.Error:
        return 0.0


def show_mail(count: int) -> None:
    """Print the newest e-mails that the catcher kept."""
    folder = state_folder() / "mail" / "messages"
    mail.show(folder, count)


def show_logs(service: str | None, count: int, *, follow: bool) -> None:
    """Print the end of the logs of one service or server (its web process and worker), or list all logs."""
    folder = state_folder() / "log"
    found = sorted(path for path in folder.glob("*.log") if service is None or path.stem.split("-")[0] == service)
    if not found:
        raise SystemExit(f"HeartGuard: no log of {service or 'anything'} in {folder}")
    if service is None:
        say("\n".join(f"  {path.stat().st_size:>10}  {path}" for path in found))
        return
    command = ["tail", "-n", str(count), *(["-F"] if follow else []), *map(str, found)]
    os.execvp(command[0], command)


def execute(command: list[str]) -> None:
    """Become another command, in the environment that the suite's own processes have."""
    runtime = load(env_file(), state_folder())
    try:
        os.execvpe(command[0], command, dict(runtime.environment))
    except OSError as error:
        raise SystemExit(f"HeartGuard: cannot run {command[0]}: {error.strerror}") from error


def last_lines(path: Path, count: int) -> str:
    """The end of a log."""
    if not path.exists():
        return "(empty)"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 400 * count))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
