"""Restores a backup into an empty suite: first beside what is there, then, when all of it is right, in its place."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from common.config import ROOT, SERVICES
from ops.backups import archive
from ops.backups.make import COUNTS, HERE, LASTING_KEYS, last_object, marks, packing, session
from ops.backups.places import BackupError, Containers, Native
from ops.native.console import say

KINDS = ("timeseries", "audit-heads", "storage")


def choose(given: Path) -> Path:
    """A backup's own folder, or the newest one in a folder of backups."""
    if not given.is_dir():
        raise BackupError(f"{given} is no folder")
    if archive.NAME.fullmatch(given.name):
        return given.absolute()
    found = archive.backups(given)
    if not found:
        raise BackupError(f"{given} holds no whole backup")
    return found[-1].absolute()


def bring_env(folder: Path, path: Path) -> None:
    """Put the backup's own .env in place where there is none."""
    stored = folder / f"env{archive.SEALED}"
    if path.exists():
        return
    if not stored.exists():
        raise BackupError(
            f"{path} is missing and this backup brings none. Put the old .env there; without it,"
            f" ./start_services.sh makes a new one, and {' and '.join(LASTING_KEYS)} of old are lost"
        )
    text = archive.read(stored)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)
    say(f"Put the backup's own .env into {path}.")


def check_keys(manifest: dict[str, Any], variables: dict[str, str], *, accept: bool) -> None:
    """Every lasting key of old must be in `.env`; raises BackupError naming those that are not."""
    lost = [
        f"{name}: {kid}"
        for name in LASTING_KEYS
        for kid, mark in manifest["keys"][name].items()
        if marks(variables, name, manifest["keys"][name]).get(kid) != mark
    ]
    if not lost:
        return
    words = f"keys of the backup that are missing in .env, or others there under the same name: {', '.join(lost)}"
    if not accept:
        raise BackupError(
            f"{words}.\nWithout AUTH_SECRET_KEYS second factors cannot be opened, without AUDIT_SIGNING_KEY the signed"
            " heads of the audit trail do not verify.\nAdd the old pairs behind the new ones, or say --without-keys"
        )
    say(f"Going on without {words}.")


def check_migrations(manifest: dict[str, Any]) -> None:
    """This checkout must know the backup's migrations; it then migrates on from there."""
    unknown = [
        f"{schema} {version}"
        for schema, version in manifest["migrations"].items()
        if not list((ROOT / f"{schema}_service" / "migrations").glob(f"{version}_*.py"))
    ]
    if unknown:
        raise BackupError(f"the backup is of a newer HeartGuard ({', '.join(unknown)}): check that version out first")


def check_engine(place: Native | Containers, folder: Path, manifest: dict[str, Any]) -> None:
    """Time series go back into the engine that they came from."""
    if "timeseries" in manifest and not stored(folder, packing(place, "timeseries")[0]).exists():
        raise BackupError(
            "the time series of this backup were in the other engine (InfluxDB or the local file): restore with"
            " INFLUXDB_URL set, or not, as it was then"
        )


def restore(place: Native | Containers, folder: Path, *, force: bool, without_keys: bool) -> None:
    """Restore one backup, verify it, and put it in the place of what is there. Raises BackupError."""
    manifest = archive.manifest_of(folder)
    archive.check(folder, manifest)
    say(f"{folder.name}: {len(manifest['files'])} files are what was written. They go into {place.title}.")
    check_migrations(manifest)
    check_keys(manifest, place.variables, accept=without_keys)
    check_engine(place, folder, manifest)
    with place.quiet():
        check_empty(place, force=force)
        fresh = f"{place.database}_restore_{secrets.token_hex(4)}"
        try:
            fill(place, folder, manifest, fresh)
        except BaseException:
            drop(place, fresh)
            raise
        for kind in KINDS:
            unpack(place, folder, kind, manifest, aside=force)
        swap(place, fresh)
        rows = place.python("audit", (HERE / "chain.py").read_text()).output().decode().split()[-1]
        say(f"  audit chain    whole, {rows} rows")
    tell(manifest, folder)


def check_empty(place: Native | Containers, *, force: bool) -> None:
    """Refuse a suite with data, unless it may be put aside."""
    used = [kind for kind in KINDS if (kind != "storage" or place.keeps(kind)) and count(place, kind)]
    if exists(place, place.database):
        schemas = ", ".join(f"'{name}'" for name in SERVICES)
        statement = f"SELECT count(*) FROM pg_tables WHERE schemaname IN ({schemas})"
        if query(place, place.database, statement) != "0":
            used.insert(0, f"tables in database {place.database}")
    if used and not force:
        raise BackupError(
            f"this suite is not empty ({', '.join(used)}). Restore into a new one, or say --force:"
            " what is there is put aside, not deleted"
        )


def count(place: Native | Containers, kind: str) -> int:
    """How many files of a kind, or buckets of time series, are there."""
    return int(packing(place, kind)[1]("count").output())


def query(place: Native | Containers, database: str, statement: str) -> str:
    """One answer of PostgreSQL."""
    command = place.postgres("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement)
    return command.output().decode().strip()


def exists(place: Native | Containers, database: str) -> bool:
    """Whether there is a database of this name."""
    return query(place, "postgres", f"SELECT count(*) FROM pg_database WHERE datname = '{database}'") == "1"


def drop(place: Native | Containers, database: str) -> None:
    """Remove what a failed restore had begun."""
    query(place, "postgres", f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


def fill(place: Native | Containers, folder: Path, manifest: dict[str, Any], fresh: str) -> None:
    """Every schema with owners, rights, policies and sequences into a new database; then the rows are counted."""
    place.make_roles(fresh)
    for schema in SERVICES:
        query(place, fresh, f'DROP SCHEMA "{schema}"')
        command = place.postgres("pg_restore", "--exit-on-error", "--single-transaction", "-d", fresh)
        archive.feed(stored(folder, f"postgres-{schema}.dump"), command)
        say(f"  {schema:<14} restored")
    with session(place, fresh) as found:
        rows = found.json(COUNTS)
    if rows != manifest["rows"]:
        differ = sorted(name for name, number in manifest["rows"].items() if rows.get(name) != number)
        raise BackupError(f"restored tables do not have the rows of the backup: {', '.join(differ)}")
    query(place, fresh, "ANALYZE")
    say(f"  {sum(rows.values())} rows in {len(rows)} tables, as in the backup")


def stored(folder: Path, name: str) -> Path:
    """A file of the backup, sealed or not."""
    sealed = folder / f"{name}{archive.SEALED}"
    return sealed if sealed.exists() else folder / name


def unpack(place: Native | Containers, folder: Path, kind: str, manifest: dict[str, Any], *, aside: bool) -> None:
    """What a service keeps outside PostgreSQL."""
    name, packed = packing(place, kind)
    path = stored(folder, name)
    if not path.exists() or (kind == "storage" and not place.keeps(kind)):
        say(f"  {kind:<14} not here: {'not in the backup' if not path.exists() else 'this suite keeps them elsewhere'}")
        return
    command = packed("unpack", *(["--aside"] if aside else []))
    said = archive.feed(path, command)
    if kind == "timeseries" and last_object(said) != manifest["timeseries"]:
        raise BackupError("the restored time series are not those of the backup")
    say(f"  {kind:<14} restored")


def swap(place: Native | Containers, fresh: str) -> None:
    """Give the new database the name; one that was there is kept under another."""
    statements = []
    if exists(place, place.database):
        old = f"{place.database}_replaced_{archive.utc_now():%Y%m%d%H%M%S}"
        statements.append(f'ALTER DATABASE "{place.database}" RENAME TO "{old}"')
        say(f'  what was there is kept as database {old}: DROP DATABASE "{old}" when it is not needed')
    statements.append(f'ALTER DATABASE "{fresh}" RENAME TO "{place.database}"')
    query(place, "postgres", "BEGIN; " + "; ".join(statements) + "; COMMIT")


def tell(manifest: dict[str, Any], folder: Path) -> None:
    """What the operator has to know."""
    unsent = sum(number for name, number in manifest["rows"].items() if name.endswith(".outbox"))
    say(
        f"Restored {folder.name} (made {manifest['made_at']}). Now: ./start_services.sh\n"
        f"{unsent} messages that had not been sent go out then; whoever has seen one already takes it once.\n"
        "What was on its way inside the broker at that moment is not in a backup. Access tokens of old hold while"
        " JWT_SIGNING_KEYS is the same; otherwise people's apps renew them by themselves."
    )
    if missing := manifest["media"]["missing"]:
        say(f"{len(missing)} files were missing in the bucket when the backup was made (media.jsonl lists what was).")
    if not (folder / f"storage.tar{archive.SEALED}").exists() and not (folder / "storage.tar").exists():
        say("Files lie in a bucket of their own and are not in the backup: media.jsonl lists what must be there.")
