"""Makes a backup while the suite runs."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.config import SERVICES
from ops.backups import archive
from ops.backups.places import BackupError, Command, Containers, Native, last_words
from ops.native.console import say

HERE = Path(__file__).parent
# What a restored suite cannot do without: second factors are sealed with the one, audit heads signed with the other.
LASTING_KEYS = ("AUTH_SECRET_KEYS", "AUDIT_SIGNING_KEY")
COUNTS = """
SELECT json_object_agg(schemaname || '.' || tablename, (xpath('/row/n/text()',
    query_to_xml(format('SELECT count(*) AS n FROM %I.%I', schemaname, tablename), false, true, '')))[1]::text::bigint)
FROM pg_tables WHERE schemaname IN ({schemas});
"""
VERSIONS = """
SELECT json_object_agg(schemaname, (xpath('/row/version_num/text()',
    query_to_xml(format('SELECT version_num FROM %I.alembic_version', schemaname), false, true, '')))[1]::text)
FROM pg_tables WHERE tablename = 'alembic_version' AND schemaname IN ({schemas});
"""
READY_FILES = """
SELECT json_agg(json_build_array(org_id || '/' || id, size_bytes)) FROM media.media_assets
WHERE status = 'ready' AND removed_at IS NULL;
"""


class Session:
    """One psql that stays open: what it asks and what pg_dump writes with its snapshot is one moment."""

    def __init__(self, process: subprocess.Popen[bytes], said: Any) -> None:
        self._process, self._said = process, said

    def ask(self, statement: str) -> str:
        """The one line that a statement answers."""
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(f"{statement.strip()}\n".encode())
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            self._process.wait()
            self._said.seek(0)
            raise BackupError(f"PostgreSQL: {last_words(self._said.read())}")
        return line.decode().strip()

    def json(self, statement: str) -> Any:
        """The same as an object; None for nothing."""
        answer = self.ask(statement.format(schemas=", ".join(f"'{name}'" for name in SERVICES)))
        return json.loads(answer) if answer else None


@contextmanager
def session(place: Native | Containers, database: str) -> Iterator[Session]:
    """A read-only session whose every statement sees one moment."""
    with tempfile.TemporaryFile() as said:
        command = place.postgres("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database)
        process = command.start(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
        try:
            found = Session(process, said)
            begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0;"
            found.ask(f"{begin} SELECT 'begun';")
            yield found
        finally:
            assert process.stdin and process.stdout
            process.stdin.close()
            process.stdout.close()
            process.wait()


def make(
    place: Native | Containers,
    target: Path,
    seal: archive.Seal,
    *,
    keep: int | None,
    days: int | None,
    with_env: bool,
    without_timeseries: bool,
) -> Path:
    """Make one backup in `target`, then let old ones go; returns its folder. Raises BackupError."""
    if with_env and seal.key_file is None:
        raise BackupError("--with-env puts every secret into the backup: set BACKUP_KEY_FILE, so that it is sealed")
    now = archive.utc_now()
    with archive.only_one(target), archive.new_backup(target, now) as folder:
        say(f"Backup of {place.kind} into {target / folder.name.removesuffix(archive.PART)}")
        # Heads first: one that is newer than the rows would read as rows cut off.
        pack(place, folder, "audit-heads", seal)
        with session(place, place.database) as snapshot:
            manifest = facts(place, snapshot)
            dump(place, folder, snapshot, seal, manifest["rows"])
            ready = snapshot.json(READY_FILES) or []
        # Samples and files after the rows that name them: what a row says is there is there.
        if not without_timeseries:
            manifest["timeseries"] = pack(place, folder, "timeseries", seal)
        media(place, folder, ready, seal, manifest)
        if place.keeps("storage"):
            pack(place, folder, "storage", seal)
        if with_env:
            archive.write_text(folder / f"env{seal.suffix}", place.env_file.read_text(), seal)
        files = sorted(path for path in folder.iterdir())
        manifest["files"] = {
            path.name: {"bytes": path.stat().st_size, "sha256": archive.digest(path)} for path in files
        }
        manifest["made_at"] = now.isoformat()
        archive.write_text(folder / f"{archive.MANIFEST}{seal.suffix}", json.dumps(manifest, indent=1), seal)
        for path in folder.iterdir():
            path.chmod(0o600)
        made = target / folder.name.removesuffix(archive.PART)
        size = sum(path.stat().st_size for path in folder.iterdir())
    say(f"Done: {sum(manifest['rows'].values())} rows, {size / 2**20:.1f} MiB{', sealed' if seal.key_file else ''}.")
    if seal.key_file is None:
        say("It is not sealed: it holds patients' data, so keep its folder to yourself or set BACKUP_KEY_FILE.")
    with archive.only_one(target):
        for name in archive.expire(target, keep, days, now):
            say(f"Deleted {name}, which is beyond what is kept.")
    return made


def facts(place: Native | Containers, snapshot: Session) -> dict[str, Any]:
    """What the manifest says of the moment."""
    return {
        "format": 1,
        "kind": place.kind,
        "postgresql": snapshot.ask("SHOW server_version;"),
        "migrations": snapshot.json(VERSIONS) or {},
        "rows": snapshot.json(COUNTS) or {},
        "keys": {name: marks(place.variables, name) for name in LASTING_KEYS},
    }


def dump(
    place: Native | Containers, folder: Path, snapshot: Session, seal: archive.Seal, rows: Mapping[str, int]
) -> None:
    """Every schema in a file of its own, all from the snapshot."""
    if not rows:
        raise BackupError(f"database {place.database} holds no tables of HeartGuard: nothing to back up")
    moment = snapshot.ask("SELECT pg_export_snapshot();")
    for schema in SERVICES:
        command = place.postgres(
            "pg_dump", "-Fc", f"--snapshot={moment}", f"--schema={schema}", "--lock-wait-timeout=30s", place.database
        )
        path = folder / f"postgres-{schema}.dump{seal.suffix}"
        archive.write(path, command, seal)
        tables = [count for name, count in rows.items() if name.startswith(f"{schema}.")]
        say(f"  {schema:<14} {len(tables):>3} tables {sum(tables):>9} rows {path.stat().st_size:>11} bytes")


def packing(place: Native | Containers, kind: str) -> tuple[str, Callable[..., Command]]:
    """The name of a kind's file, and what packs, counts and unpacks it."""
    if kind == "timeseries" and not place.keeps(kind):
        series = (HERE / "series.py").read_text()
        return "timeseries.lines.gz", lambda *words: place.python("influx", series, *words)
    files = (HERE / "volume.py").read_text()
    return f"{kind}.tar", lambda action, *options: place.files(files, action, kind, *options)


def pack(place: Native | Containers, folder: Path, kind: str, seal: archive.Seal) -> dict[str, int]:
    """What a service keeps outside PostgreSQL; returns how many rows or values the time series have."""
    name, command = packing(place, kind)
    path = folder / f"{name}{seal.suffix}"
    said = archive.write(path, command("pack"), seal)
    say(f"  {kind:<14} {path.stat().st_size:>35} bytes")
    return last_object(said) if kind == "timeseries" else {}


def last_object(said: bytes) -> dict[str, int]:
    """The JSON object on the last line of what a script said, empty where there is none."""
    lines = [line for line in said.decode().splitlines() if line.startswith("{")]
    found: dict[str, int] = json.loads(lines[-1]) if lines else {}
    return found


def media(
    place: Native | Containers, folder: Path, ready: list[Any], seal: archive.Seal, manifest: dict[str, Any]
) -> None:
    """Name, size and checksums of every object, held against the rows that say which there must be."""
    script = (HERE / "objects.py").read_text()
    listing = place.python("media", script).output().decode()
    archive.write_text(folder / f"media.jsonl{seal.suffix}", listing, seal)
    there = {item["name"]: item["size"] for item in map(json.loads, listing.splitlines())}
    missing = sorted(name for name, size in ready if there.get(name) != size)
    manifest["media"] = {"objects": len(there), "missing": missing}
    say(f"  {'media':<14} {len(there):>7} objects")
    if missing:
        print(f"  {len(missing)} files that rows speak of are not in the bucket (see the manifest)", file=sys.stderr)


def marks(variables: Mapping[str, str], name: str, salts: Mapping[str, str] | None = None) -> dict[str, str]:
    """A mark of each key by its kid, from which the key cannot be found: salt and scrypt of the secret."""
    found = {}
    for entry in variables.get(name, "").split(","):
        kid, _, secret = entry.strip().partition(":")
        if secret:
            salt = (salts or {}).get(kid, secrets.token_hex(8)).partition("$")[0]
            stretched = hashlib.scrypt(secret.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1, dklen=12)
            found[kid] = f"{salt}${stretched.hex()}"
    return found


def default_target() -> Path:
    """`BACKUP_FOLDER`, else a folder that `--purge` does not touch."""
    if chosen := os.environ.get("BACKUP_FOLDER"):
        return Path(chosen).absolute()
    return Path("/var/backups/heartguard") if os.geteuid() == 0 else Path.home() / "heartguard-backups"
