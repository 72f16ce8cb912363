"""`python -m ops.backups make|restore|list`: what ops/backup.sh and ops/restore.sh run."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ops.backups import archive, make, restore
from ops.backups.places import BackupError, next_place, read_env, running_place
from ops.native.settings import env_file

BAD_SETTINGS = 78  # EX_CONFIG


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="ops.backups", description="Backups of HeartGuard.")
    commands = top.add_subparsers(dest="command", required=True, metavar="make|restore|list")
    where = argparse.ArgumentParser(add_help=False)
    modes = where.add_mutually_exclusive_group()
    modes.add_argument("--native", dest="mode", action="store_const", const="native", help="of the native runtime")
    modes.add_argument("--docker", dest="mode", action="store_const", const="docker", help="of the containers")
    making = commands.add_parser("make", parents=[where], help="make a backup; the suite may run")
    making.add_argument("--to", type=Path, help="folder of backups (BACKUP_FOLDER)")
    making.add_argument("--keep", type=positive, default=14, help="how many are kept (default 14)")
    making.add_argument("--keep-days", type=positive, help="delete those that are older, never the newest")
    making.add_argument("--with-env", action="store_true", help="put .env into it too; only where it is sealed")
    making.add_argument("--without-timeseries", action="store_true", help="leave the time series out")
    restoring = commands.add_parser("restore", parents=[where], help="restore into an empty, stopped suite")
    restoring.add_argument("backup", type=Path, nargs="?", help="a backup, or a folder of backups: then its newest")
    restoring.add_argument("--force", action="store_true", help="put aside what is there")
    restoring.add_argument("--without-keys", action="store_true", help="go on although keys of old are lost")
    listing = commands.add_parser("list", help="list the backups and check their files")
    listing.add_argument("--to", type=Path, help="folder of backups (BACKUP_FOLDER)")
    return top


def positive(text: str) -> int:
    """A whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a number from 1")
    return number


def main(arguments: list[str]) -> int:
    """Run the command line; returns the exit status."""
    os.umask(0o077)
    chosen = parser().parse_args(arguments)
    try:
        settle()
        if chosen.command == "list":
            return show(chosen.to or make.default_target())
        if chosen.command == "make":
            key = os.environ.get("BACKUP_KEY_FILE")
            make.make(
                running_place(chosen.mode),
                (chosen.to or make.default_target()).absolute(),
                archive.Seal(Path(key) if key else None),
                keep=chosen.keep,
                days=chosen.keep_days,
                with_env=chosen.with_env,
                without_timeseries=chosen.without_timeseries,
            )
            return 0
        folder = restore.choose(chosen.backup or make.default_target())
        restore.bring_env(folder, env_file())
        restore.restore(next_place(chosen.mode), folder, force=chosen.force, without_keys=chosen.without_keys)
    except (BackupError, OSError) as error:
        print(f"HeartGuard: {error}", file=sys.stderr)
        return 1
    except ValueError as error:  # SettingsError of the native runtime, which names the variables
        print(f"HeartGuard: {error}", file=sys.stderr)
        return BAD_SETTINGS
    except KeyboardInterrupt:
        print("HeartGuard: interrupted; nothing half made was left.", file=sys.stderr)
        return 130
    return 0


def settle() -> None:
    """BACKUP_FOLDER and BACKUP_KEY_FILE may stand in .env; the caller's environment overrules it."""
    if env_file().is_file():
        found = read_env(env_file())
        for name in ("BACKUP_FOLDER", "BACKUP_KEY_FILE"):
            if name in found:
                os.environ.setdefault(name, found[name])


def show(target: Path) -> int:
    """Print every backup and whether its files are what was written; 1 when one is damaged."""
    damaged = False
    for folder in archive.backups(target) if target.is_dir() else []:
        try:
            manifest = archive.manifest_of(folder)
            archive.check(folder, manifest)
            print(f"{folder.name}  {sum(manifest['rows'].values()):>9} rows  whole")
        except BackupError as error:
            damaged = True
            print(f"{folder.name}  {error}")
    return int(damaged)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
