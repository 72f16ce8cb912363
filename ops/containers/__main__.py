"""`python -m ops.containers start|reload|stop`: the suite in containers; the scripts at the root call it."""

from __future__ import annotations

import argparse
import shutil
import sys
import time

from ops.containers import reloading, secret_files
from ops.containers.compose import Compose, ComposeError, check_engine
from ops.containers.settings import checked_variables, gateway_address, profiles_of
from ops.containers.waiting import wait_gateway
from ops.native import processes, settings
from ops.native.__main__ import BAD_SETTINGS, REFUSED
from ops.native.console import Progress, confirmed, say
from ops.native.servers.base import LOOPBACK
from ops.native.settings import SettingsError


def start(profiles: list[str], *, build: bool, logs: bool) -> int:
    """Bring everything up; returns 0 only when every container is healthy and the gateway says all are ready.

    Where the suite runs already, what is out of date is replaced without an interruption.
    """
    began = time.monotonic()
    check_engine()
    variables = checked_variables()
    host, port = gateway_address(variables)
    compose = Compose(profiles_of(variables, profiles), variables)
    runs = "gateway" in compose.running()
    if not runs and not processes.is_free(variables.get("GATEWAY_HOST", LOOPBACK), port):
        raise ComposeError(f"port {port} is in use by {processes.listener_on(port)}: stop it, or set GATEWAY_PORT")
    if build:
        with Progress("Images"):
            compose.run("build", "--quiet")
    reloading.bring(compose, variables)
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
    again = commands.add_parser(
        "reload", help="build, migrate, then bring new code and settings in, one after the other"
    )
    again.add_argument("services", nargs="*", metavar="SERVICE", help="only these, for example patient patient-worker")
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
        if chosen.command == "reload":
            reloading.reload(chosen.services)
            return 0
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
