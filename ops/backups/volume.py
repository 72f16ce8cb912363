"""Packs and unpacks files that services keep: runs beside them, also inside a container, on Python's own library.

`pack KIND` prints a tar; `count KIND` says how many files there are; `unpack KIND [--aside]` reads a tar. KIND is
timeseries, audit-heads or storage. The rows of the time series' tables go to the error stream, as JSON.
"""

import json
import os
import shutil
import sqlite3
import sys
import tarfile
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

STATE = os.environ.get("HEARTGUARD_STATE", "/var/lib/heartguard")
SERIES = Path(os.environ.get("TIMESERIES_PATH") or f"{STATE}/timeseries/series.db")
FOLDERS = {
    "timeseries": SERIES.parent,
    "audit-heads": Path(os.environ.get("AUDIT_HEAD_FOLDER") or f"{STATE}/audit-heads"),
    "storage": Path(os.environ.get("STORAGE_FOLDER") or f"{STATE}/storage/buckets"),
}
PATTERNS = {"timeseries": f"{SERIES.name}*", "audit-heads": "heads-*.jsonl", "storage": "*"}
XATTR = "SCHILY.xattr."  # where the object store keeps the content type of a file


def pack(kind: str, out: BinaryIO) -> None:
    """Print the files as a tar; the time series as one consistent copy, while they are written."""
    folder = FOLDERS[kind]
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        if kind == "timeseries":
            if SERIES.exists():
                with tempfile.TemporaryDirectory(dir=folder, prefix=".copy-") as copies:
                    copy = Path(copies) / "copy"
                    with closing(sqlite3.connect(SERIES, timeout=60)) as database:
                        database.execute("VACUUM INTO ?", (str(copy),))
                    tar.add(copy, "series.db")
                    report(copy)
            return
        for path in sorted(folder.rglob("*")) if kind == "storage" else existing(kind):
            tar.add(path, str(path.relative_to(folder)), recursive=False, filter=with_attributes)


def with_attributes(item: tarfile.TarInfo) -> tarfile.TarInfo:
    """Take the extended attributes along."""
    path = FOLDERS["storage"] / item.name
    for name in os.listxattr(path) if path.exists() else ():
        if name.startswith("user."):
            item.pax_headers = {**item.pax_headers, f"{XATTR}{name}": os.getxattr(path, name).decode()}
    return item


def report(file: Path) -> None:
    """Say how many rows each table of the copy has, and fail where it is not sound."""
    with closing(sqlite3.connect(file)) as database:
        state = database.execute("PRAGMA quick_check").fetchone()[0]
        if state != "ok":
            raise SystemExit(f"the time series' file is damaged: {state}")
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        rows = {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}
    print(json.dumps(rows), file=sys.stderr)


def existing(kind: str) -> list[Path]:
    """The files of this kind that are there."""
    return sorted(path for path in FOLDERS[kind].glob(PATTERNS[kind]) if not path.name.startswith("."))


def unpack(kind: str, source: BinaryIO, *, aside: bool) -> None:
    """Read a tar into an empty place; `aside` moves away what is there. Nothing is touched before all has arrived."""
    folder = FOLDERS[kind]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".restore-") as fresh:
        with tarfile.open(fileobj=source, mode="r|") as tar:
            for item in tar:
                place(tar, item, Path(fresh))
        if kind == "timeseries" and (Path(fresh) / "series.db").exists():
            report(Path(fresh) / "series.db")
        if found := existing(kind):
            if not aside:
                raise SystemExit(f"{folder} is not empty")
            old = folder.with_name(f"{folder.name}.replaced-{int(time.time())}")
            if os.path.ismount(folder):
                old = folder / f".{old.name}"
            old.mkdir(mode=0o700)
            for path in found:
                shutil.move(path, old / path.name)
        for path in Path(fresh).iterdir():
            path.rename(SERIES if kind == "timeseries" else folder / path.name)


def place(tar: tarfile.TarFile, item: tarfile.TarInfo, folder: Path) -> None:
    """Write one file or folder below `folder`, nothing else and nowhere else."""
    target = folder / item.name
    if ".." in target.parts or folder not in target.parents or not (item.isfile() or item.isdir()):
        raise SystemExit(f"{item.name!r} does not belong in a backup")
    if item.isdir():
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
    else:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tar.extractfile(item) as source, target.open("xb") as file:  # type: ignore[union-attr]
            shutil.copyfileobj(source, file)
        os.utime(target, (item.mtime, item.mtime))
    for name, value in item.pax_headers.items():
        if name.startswith(XATTR):
            os.setxattr(target, name.removeprefix(XATTR), value.encode())


if __name__ == "__main__":
    action, chosen = sys.argv[1:3]
    if action == "pack":
        pack(chosen, sys.stdout.buffer)
    elif action == "count":
        print(len(existing(chosen)))
    else:
        unpack(chosen, sys.stdin.buffer, aside="--aside" in sys.argv)
