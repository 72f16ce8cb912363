"""`python -m ops.native install|start|reload|stop|status|present|purge|mail|logs|run`."""

from __future__ import annotations

import argparse
import sys

from ops.native import console, reloading, runtime, stopping
from ops.native.packages import MissingPackages
from ops.native.servers.base import ServerError
from ops.native.settings import SettingsError, state_folder
from ops.native.state import StartError, is_present

REFUSED = 1
BAD_SETTINGS = 78  # EX_CONFIG


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m ops.native", description="HeartGuard on this machine.")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="install the servers that are missing; start nothing")
    commands.add_parser("start", help="bring everything up; changes nothing where it is up")
    reload = commands.add_parser("reload", help="migrate, then bring new code and settings in without an interruption")
    reload.add_argument("programs", nargs="*", metavar="PROGRAM", help="only these, for example patient-web")
    stop = commands.add_parser("stop", help="stop everything, keep the data")
    stop.add_argument("--purge", action="store_true", help="delete the data as well")
    purge = commands.add_parser("purge", help="stop everything and delete the data")
    for command in (stop, purge):
        command.add_argument("--yes", action="store_true", help="do not ask")
    commands.add_parser("present", help="succeed where a suite of this machine itself runs or left its data")
    commands.add_parser("status", help="state, readiness and memory of every program")
    mail = commands.add_parser("mail", help="show the e-mails that the catcher kept")
    mail.add_argument("-n", type=int, default=5, help="how many (default 5)")
    logs = commands.add_parser("logs", help="show the end of a service's logs, or list all")
    logs.add_argument("service", nargs="?")
    logs.add_argument("-n", type=int, default=50, help="how many lines (default 50)")
    logs.add_argument("-f", action="store_true", help="keep following")
    run = commands.add_parser("run", help="run a command with the suite's addresses and secrets in its environment")
    run.add_argument("words", nargs="+", metavar="COMMAND")
    return top


def main(arguments: list[str]) -> int:
    """Run the command line; returns the exit status."""
    if arguments[:1] == ["run"] and len(arguments) > 1:  # its options are the command's own
        chosen = argparse.Namespace(command="run", words=arguments[2 if arguments[1] == "--" else 1 :])
    else:
        chosen = parser().parse_args(arguments)
    try:
        if chosen.command == "install":
            runtime.install()
        elif chosen.command == "start":
            runtime.start()
        elif chosen.command == "reload":
            reloading.reload(chosen.programs)
        elif chosen.command in ("stop", "purge"):
            purge = chosen.command == "purge" or chosen.purge
            if purge and not console.confirmed(f"Delete all data in {state_folder()}?", assume_yes=chosen.yes):
                return REFUSED
            stopping.stop(purge=purge)
        elif chosen.command == "present":
            return 0 if is_present() else 1
        elif chosen.command == "status":
            return 0 if console.status() else 1
        elif chosen.command == "mail":
            console.show_mail(chosen.n)
        elif chosen.command == "logs":
            console.show_logs(chosen.service, chosen.n, follow=chosen.f)
        elif chosen.command == "run":
            console.execute(chosen.words)
    except SettingsError as error:
        print(f"\nHeartGuard: {error}", file=sys.stderr)
        return BAD_SETTINGS
    except (StartError, ServerError, MissingPackages, PermissionError) as error:
        print(f"\nHeartGuard: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to go on, or ./stop_services.sh.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
