"""`python -m ops.containers start|stop`: the suite in containers; start_services.sh and stop_services.sh call it."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from dotenv import dotenv_values

from ops.containers import secret_files
from ops.containers.compose import Compose, ComposeError, check_engine
from ops.native import processes, settings
from ops.native.__main__ import BAD_SETTINGS, REFUSED
from ops.native.applications import fetch, reachable
from ops.native.console import Progress, confirmed, say
from ops.native.servers import LOOPBACK
from ops.native.settings import SettingsError

READY_TIMEOUT_S = 180
DATA = ("postgres", "redis", "rabbitmq")
NATIVE_ONLY = ("DATABASE_HOST", "REDIS_URL", "RABBITMQ_URL")


def checked_variables() -> dict[str, str]:
    """What `.env` says, made first if missing; raises SettingsError naming every bad variable."""
    path = settings.env_file()
    if settings.make_env(path):
        say(f"Made {path} with fresh secrets.")
    variables = settings.read_variables(path)
    problems = settings.problems_of(variables)
    problems += [
        f"{name}: only for the native runtime; containers have their own" for name in NATIVE_ONLY if name in variables
    ]
    if "GCS_BUCKET" in variables and "GCS_ENDPOINT" not in dotenv_values(path):
        problems.append(
            "GCS_ENDPOINT: write it empty (GCS_ENDPOINT=) beside GCS_BUCKET, or containers use the local store"
        )
    if variables.get("JWT_ALGORITHM", "HS256") != "HS256":
        problems.append("JWT_ALGORITHM: only HS256 in containers; key pairs are for the native runtime so far")
    if problems:
        raise SettingsError("\n".join(f"{path.name}: {problem}" for problem in problems))
    return variables


def profiles_of(variables: Mapping[str, str], chosen: list[str]) -> list[str]:
    """The chosen profiles and those that the settings ask for."""
    found = [*chosen, *filter(None, variables.get("COMPOSE_PROFILES", "").split(","))]
    if "SMTP_HOST" not in variables or "GCS_BUCKET" not in variables:
        found.append("local")
    if urlsplit(variables.get("INFLUXDB_URL", "")).hostname == "influxdb":
        found.append("influxdb")
    return found


def gateway_address(variables: Mapping[str, str]) -> tuple[str, int]:
    """Where this machine reaches the gateway."""
    return reachable(variables.get("GATEWAY_HOST", LOOPBACK)), int(variables.get("GATEWAY_PORT", 5000))


def start(profiles: list[str], *, build: bool, logs: bool) -> int:
    """Bring everything up; returns 0 only when every container is healthy and the gateway says all are ready."""
    began = time.monotonic()
    check_engine()
    variables = checked_variables()
    host, port = gateway_address(variables)
    compose = Compose(profiles_of(variables, profiles), variables)
    running = {item.service for item in compose.containers() if item.state == "running"}
    if "gateway" not in running and not processes.is_free(variables.get("GATEWAY_HOST", LOOPBACK), port):
        raise ComposeError(f"port {port} is in use by {processes.listener_on(port)}: stop it, or set GATEWAY_PORT")
    outdated = compose.users_of(secret_files.write(variables)) & running
    if build:
        with Progress("Images"):
            compose.run("build", "--quiet")
    with Progress("Data servers") as progress:
        compose.run("up", "--detach", *DATA)
        wait_healthy(compose, progress, set(DATA))
    with Progress("Schemas and roles"):
        compose.run("exec", "-T", "postgres", "bash", "/docker-entrypoint-initdb.d/10-heartguard.sh")
    with Progress("Containers") as progress:
        compose.run("up", "--detach", "--remove-orphans")
        if outdated:  # Compose does not look into secret files
            compose.run("restart", *sorted(outdated))
        wait_healthy(compose, progress)
    with Progress("First superadmin"):
        login = compose.run("exec", "-T", "auth", "python", "-m", "auth_service.bootstrap").strip()
    if login:
        say(f"\nFirst login (shown only now)\n{login}\n")
    with Progress("Gateway"):
        wait_gateway(host, port)
    compose.show("ps", "--format", "table {{.Service}}\t{{.Status}}\t{{.Ports}}")
    say(f"\nHeartGuard is ready after {time.monotonic() - began:.0f} s.")
    say(f"  gateway   http://{host}:{port}")
    say("  logs      docker compose logs -f alert alert-worker")
    if "mail" in {item.service for item in compose.containers()}:
        say("  e-mails   kept: docker compose exec mail python -m ops.native.mail show /var/lib/heartguard/mail 5")
    if logs:
        return compose.show("logs", "--follow", "--tail=20")
    return 0


def wait_healthy(compose: Compose, progress: Progress, names: set[str] | None = None) -> None:
    """Return when all (or the named) containers are healthy; raises ComposeError with the logs of those that fail."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        chosen = [item for item in compose.containers() if names is None or item.service in names]
        waiting = [item for item in chosen if not item.is_done]
        progress.show(len(chosen) - len(waiting), len(chosen), [item.service for item in waiting])
        if not waiting:
            return
        failed = [item for item in waiting if item.has_failed]
        if failed or time.monotonic() > deadline:
            raise ComposeError("\n\n".join(diagnosis(compose, item.service) for item in (failed or waiting)[:3]))
        time.sleep(0.5)


def diagnosis(compose: Compose, service: str) -> str:
    """Why a container is not healthy: the end of its log."""
    return f"{service} is not healthy. The end of its log:\n{compose.run('logs', '--no-color', '--tail=15', service)}"


def wait_gateway(host: str, port: int, timeout: float = 60) -> None:
    """Return when `/gateway/health` answers 200: every service is ready for it."""
    deadline = time.monotonic() + timeout
    while True:
        status, body = fetch(host, port, "/gateway/health", timeout=5, most=4000)
        if status == HTTPStatus.OK:
            return
        if time.monotonic() > deadline:
            raise ComposeError(f"the gateway is not ready: {status} {body}")
        time.sleep(0.5)


def stop(*, purge: bool) -> None:
    """Stop and remove every container; `purge` also deletes the volumes and the secret files."""
    check_engine()
    compose = Compose(["*"])
    with Progress("Stopping the containers"):
        compose.run("down", "--remove-orphans", *(["--volumes"] if purge else []))
    if purge:
        shutil.rmtree(secret_files.folder(), ignore_errors=True)
        say(f"Deleted the volumes: databases, queues, e-mails, files. {settings.env_file()} stays.")
    else:
        say("Stopped. The data stays in the volumes.")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m ops.containers", description="HeartGuard in containers.")
    commands = top.add_subparsers(dest="command", required=True)
    up = commands.add_parser("start", help="check, build, start, wait until healthy")
    up.add_argument("--profile", action="append", default=[], help="also start this profile (observability, influxdb)")
    up.add_argument("--no-build", action="store_true", help="use the images as they are")
    up.add_argument("--logs", action="store_true", help="follow the logs when all are healthy")
    down = commands.add_parser("stop", help="stop and remove the containers, keep the data")
    down.add_argument("--purge", action="store_true", help="delete the data as well")
    down.add_argument("--yes", action="store_true", help="do not ask")
    commands.add_parser("present", help="succeed where containers or volumes of the suite are there")
    return top


def main(arguments: list[str]) -> int:
    """Run the command line; returns the exit status."""
    chosen = parser().parse_args(arguments)
    try:
        if chosen.command == "start":
            return start(chosen.profile, build=not chosen.no_build, logs=chosen.logs)
        if chosen.command == "present":
            return 0 if Compose(["*"]).is_present() else 1
        if chosen.purge and not confirmed("Delete all data of the containers?", assume_yes=chosen.yes):
            return REFUSED
        stop(purge=chosen.purge)
    except SettingsError as error:
        print(f"\nHeartGuard: {error}", file=sys.stderr)
        return BAD_SETTINGS
    except ComposeError as error:
        print(f"\nHeartGuard: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to go on, or ./stop_services.sh.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
