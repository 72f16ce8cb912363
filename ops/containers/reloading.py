"""Brings the containers up, and new code, settings and secrets into those that run, without an interruption."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from common.config import SERVICE_PORTS
from ops.containers import secret_files
from ops.containers.compose import DATA, Compose, ComposeError, Container, check_engine, docker
from ops.containers.settings import checked_variables, gateway_address, profiles_of
from ops.containers.waiting import wait_gateway, wait_healthy
from ops.native.console import Progress, say

# Every replica that starts takes half a second of a processor from those that serve.
AT_ONCE = 3
PATIENCE_S = 90.0
READY_FOLDER = "/tmp"
PROBE = ("python", "-IS", "common/probe.py")
STAND_IN = "gateway-stand-in"
WEBS = tuple(name for name in SERVICE_PORTS if name != "gateway")
WORKERS = tuple(f"{name}-worker" for name in WEBS)


def reload(chosen: list[str]) -> None:
    """Build, migrate, then replace the named services, or without a name all that are out of date."""
    began = time.monotonic()
    check_engine()
    variables = checked_variables()
    compose = Compose(profiles_of(variables, []), variables)
    if "gateway" not in compose.running():
        raise ComposeError("HeartGuard does not run: ./start_services.sh --docker starts it")
    if unknown := set(chosen) - {*WEBS, *WORKERS, "gateway"}:
        raise ComposeError(f"nothing to reload is called {', '.join(sorted(unknown))}")
    with Progress("Images"):
        compose.run("build", "--quiet")
    bring(compose, variables, chosen)
    wait_gateway(*gateway_address(variables))
    say(f"Reloaded after {time.monotonic() - began:.0f} s.")


def bring(compose: Compose, variables: dict[str, str], chosen: Iterable[str] = ()) -> None:
    """Start what is missing. Where the suite serves already, what is out of date is replaced part by part."""
    changed = secret_files.write(variables)
    running = compose.running()
    outdated = compose.users_of(changed) & running
    with Progress("Data servers") as progress:
        compose.run("up", "--detach", *DATA)
        if servers := outdated & set(DATA):  # Compose does not look into secret files
            compose.run("restart", *sorted(servers))
        wait_healthy(compose, progress, set(DATA))
    with Progress("Schemas and roles"):
        compose.run("exec", "-T", "postgres", "bash", "/docker-entrypoint-initdb.d/10-heartguard.sh")
    with Progress("Migrations") as progress:
        compose.run("up", "--detach", "--force-recreate", "migrate")
        wait_healthy(compose, progress, {"migrate"})
    programs = outdated & {*WEBS, *WORKERS, "gateway"}
    if "gateway" in running:
        renew(compose, programs - replace(compose, set(chosen)))
    elif programs:
        compose.run("rm", "--stop", "--force", *sorted(programs))
    with Progress("Containers") as progress:
        compose.run("up", "--detach", "--remove-orphans", *_scales(compose))
        wait_healthy(compose, progress)


def replace(compose: Compose, chosen: set[str]) -> set[str]:
    """Put new containers in the place of outdated ones (of all of `chosen`, if given); returns whose.

    A web service's newcomer answers before the old one ends its requests. A worker ends orderly and comes back; its
    messages wait in their queues. The gateway is last, because it knows the new routes. Nobody else can hold its
    published port: while it is away another one stands in at a port of its own, where nginx then asks.
    """
    old = [item for item in compose.containers() if item.state == "running" and item.service in chosen]
    if not chosen:
        old = compose.outdated()
    done = {item.service for item in old}
    for webs in _batches(name for name in WEBS if name in done):
        with Progress(f"Replacing {', '.join(webs)}"):
            _replace_webs(compose, [item for item in old if item.service in webs])
    for workers in _batches(name for name in WORKERS if name in done):
        with Progress(f"Replacing {', '.join(workers)}"):
            _start_anew(compose, workers)
    if "gateway" in done:
        with Progress("Replacing gateway"), _stand_in(compose):
            _start_anew(compose, ["gateway"])
    return done


@contextmanager
def _stand_in(compose: Compose) -> Iterator[None]:
    _start_anew(compose, [STAND_IN])
    try:
        yield
    finally:
        names = _names(compose, [STAND_IN])
        docker("stop", *names)
        docker("rm", *names)


def _replace_webs(compose: Compose, old: list[Container]) -> None:
    services = sorted({item.service for item in old})
    counts = compose.counts()
    more = {name: counts[name] + sum(item.service == name for item in old) for name in services}
    scales = [f"--scale={name}={count}" for name, count in more.items()]
    # Made, not brought up: that would run the migrations again each time, or without them look like another service.
    compose.run("create", "--no-recreate", *scales, *services)
    _start_made(compose, services)
    names = [item.name for item in old]
    docker("stop", *names)
    docker("rm", *names)


def _start_anew(compose: Compose, services: list[str]) -> None:
    compose.run("create", "--force-recreate", *_scales(compose, services), *services)
    _start_made(compose, services)


def _start_made(compose: Compose, services: list[str]) -> None:
    made = [item.name for item in compose.containers() if item.service in services and item.state == "created"]
    docker("start", *made)
    for name in made:
        _await(_is_ready, name)


def renew_all() -> None:
    """Write the secret files, and let every program of the running suite read them."""
    variables = checked_variables()
    compose = Compose(profiles_of(variables, []), variables)
    secret_files.write(variables)
    renew(compose, {*WEBS, *WORKERS, "gateway"} & compose.running())


def renew(compose: Compose, services: set[str]) -> None:
    """Let programs read their secrets anew: web servers start new processes in the place of theirs, workers restart."""
    for webs in _batches(name for name in WEBS if name in services):
        with Progress(f"Renewing {', '.join(webs)}"):
            _renew_webs(_names(compose, webs))
    for workers in _batches(name for name in WORKERS if name in services):
        with Progress(f"Renewing {', '.join(workers)}"):
            compose.run("restart", *workers)
            for name in _names(compose, workers):
                _await(_is_ready, name)
    if "gateway" in services:
        with Progress("Renewing gateway"):
            for name in _names(compose, ["gateway"]):
                old = _serving(name)
                docker("kill", "--signal=HUP", name)  # granian lets each old process go when its new one serves
                _await_renewed(name, old)


def _renew_webs(containers: list[str]) -> None:
    """One more gunicorn process, and when it has loaded the application the oldest one less, until all are new."""
    old = {name: _serving(name) for name in containers}
    for _ in range(max(map(len, old.values()))):
        _replace_one(containers)
    for name in containers:
        _await_renewed(name, old[name])


def _replace_one(containers: list[str]) -> None:
    before = {name: _loaded(name) for name in containers}
    _signal_all(containers, "TTIN", lambda name: bool(_loaded(name) - before[name]))
    _signal_all(containers, "TTOU", lambda name: bool(before[name] - _loaded(name)))


def _signal_all(containers: list[str], signal: str, arrived: Callable[[str], bool]) -> None:
    for name in containers:  # to gunicorn itself: Docker's init keeps these two signals to itself
        docker("exec", name, "sh", "-c", f"kill -{signal} $(cat /proc/1/task/1/children)")
    for name in containers:
        _await(arrived, name)


def _loaded(container: str) -> set[str]:
    """The web processes that have loaded the application, by what `common/gunicorn.py` writes down of them."""
    return {name for name in docker("exec", container, "ls", READY_FOLDER).split() if name.isdigit()}


def _await_renewed(container: str, old: set[str]) -> None:
    def is_renewed(name: str) -> bool:
        now = _serving(name)
        return bool(now) and not now & old and _is_ready(name)

    _await(is_renewed, container)


def _serving(container: str) -> set[str]:
    """The processes that answer requests: the children of the one that Docker's init started."""
    rows = [line.split(None, 2) for line in docker("top", container, "-eo", "pid,ppid,args").splitlines()[1:]]
    init = next(pid for pid, parent, _ in rows if parent not in {other for other, _, _ in rows})
    masters = {pid for pid, parent, _ in rows if parent == init}
    return {pid for pid, parent, words in rows if parent in masters and "resource_tracker" not in words}


def _names(compose: Compose, services: Iterable[str]) -> list[str]:
    """The running containers of these services."""
    wanted = set(services)
    return [item.name for item in compose.containers() if item.service in wanted and item.state == "running"]


def _is_ready(container: str) -> bool:
    try:
        docker("exec", container, *PROBE)
    except ComposeError:
        return False
    return True


def _await(condition: Callable[[str], bool], container: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition(container):
        if time.monotonic() > deadline:
            raise ComposeError(f"{container} was not replaced in time:\n{docker('logs', '--tail=15', container)}")
        time.sleep(0.2)


def _batches(names: Iterable[str]) -> list[list[str]]:
    found = list(names)
    return [found[start : start + AT_ONCE] for start in range(0, len(found), AT_ONCE)]


def _scales(compose: Compose, services: Iterable[str] | None = None) -> list[str]:
    """Options that keep as many replicas as there are."""
    wanted = None if services is None else set(services)
    counts = {name: count for name, count in compose.counts().items() if wanted is None or name in wanted}
    return [f"--scale={name}={count}" for name, count in sorted(counts.items()) if count > 1]
