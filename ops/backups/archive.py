"""The files of a backup: sealed, checked, complete or not there, and kept for as long as asked."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ops.backups.places import BackupError, Command, last_words

NAME = re.compile(r"heartguard-\d{8}T\d{6}Z")
TIME = "heartguard-%Y%m%dT%H%M%SZ"
PART = ".part"  # at the end of a folder's name: not whole
MANIFEST = "manifest.json"
SEALED = ".gpg"
MIN_KEY_BYTES = 32


@dataclass(frozen=True)
class Seal:
    """GnuPG with a key from a file (AES-256, authenticated); without a key file nothing is sealed."""

    key_file: Path | None = None

    def __post_init__(self) -> None:
        if self.key_file is None:
            return
        if shutil.which("gpg") is None:
            raise BackupError("gpg is not installed, and a sealed backup needs it: apt-get install gpg")
        if not self.key_file.is_file() or len(self.key_file.read_bytes().strip()) < MIN_KEY_BYTES:
            raise BackupError(
                f"{self.key_file}: a file with a key of {MIN_KEY_BYTES} characters or more is needed there;"
                f" make one with `(umask 077; openssl rand -hex 32 > {self.key_file})` and keep it elsewhere too"
            )

    @property
    def suffix(self) -> str:
        """What stands at the end of a sealed file's name."""
        return SEALED if self.key_file else ""

    @contextmanager
    def command(self, *words: str) -> Iterator[Command]:
        """GnuPG in a home of its own, which goes with its agent."""
        home = tempfile.mkdtemp(prefix="hg-gpg-")
        environment = {"PATH": os.environ.get("PATH", os.defpath), "GNUPGHOME": home, "LANG": "C.UTF-8"}
        options = ["--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase-file"]
        try:
            yield Command(["gpg", *options, str(self.key_file), *words], environment)
        finally:
            Command(["gpgconf", "--kill", "gpg-agent"], environment).output()
            shutil.rmtree(home)

    @contextmanager
    def sealing(self) -> Iterator[Command]:
        """Seals its input. The key is random, so stretching it would buy nothing but time."""
        with self.command(
            "--symmetric", "--cipher-algo", "AES256", "--s2k-count", "65536", "--compress-algo", "none"
        ) as it:
            yield it

    @contextmanager
    def opening(self) -> Iterator[Command]:
        """Opens its input; fails when the key is another or a byte was changed."""
        with self.command("--decrypt") as it:
            yield it


def write(path: Path, producer: Command, seal: Seal) -> bytes:
    """Store what a program prints, sealed on its way to the disk; returns what it said on its error stream."""
    with path.open("wb") as file, tempfile.TemporaryFile() as said:
        if seal.key_file is None:
            failed = producer.start(stdin=subprocess.DEVNULL, stdout=file, stderr=said).wait()
        else:
            with seal.sealing() as gpg:
                source = producer.start(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
                sink = gpg.start(stdin=source.stdout, stdout=file, stderr=said)
                source.stdout.close()  # type: ignore[union-attr]
                failed = sink.wait() | source.wait()
        file.flush()
        os.fsync(file.fileno())
        said.seek(0)
        words = said.read()
    if failed:
        raise BackupError(f"{path.name}: {producer.words[0]} failed: {last_words(words)}")
    return words


def write_text(path: Path, text: str, seal: Seal) -> None:
    """Store a text, sealed when there is a key."""
    data = text.encode()
    if seal.key_file is not None:
        with seal.sealing() as gpg:
            data = gpg.output(data)
    path.write_bytes(data)


def feed(path: Path, consumer: Command) -> bytes:
    """Hand a stored file to a program, opened if it is sealed; returns what the program said on both its streams."""
    with path.open("rb") as file, tempfile.TemporaryFile() as said:
        if path.suffix != SEALED:
            failed = consumer.start(stdin=file, stdout=said, stderr=said).wait()
        else:
            with _seal_of(path).opening() as gpg:
                source = gpg.start(stdin=file, stdout=subprocess.PIPE, stderr=said)
                sink = consumer.start(stdin=source.stdout, stdout=said, stderr=said)
                source.stdout.close()  # type: ignore[union-attr]
                failed = sink.wait() | source.wait()
        said.seek(0)
        words = said.read()
    if failed:
        raise BackupError(f"{path.name}: {consumer.words[0]} failed: {last_words(words)}")
    return words


def read(path: Path) -> bytes:
    """A small stored file, opened if it is sealed."""
    if path.suffix != SEALED:
        return path.read_bytes()
    with _seal_of(path).opening() as gpg:
        return gpg.output(path.read_bytes())


def _seal_of(path: Path) -> Seal:
    chosen = os.environ.get("BACKUP_KEY_FILE")
    if not chosen:
        raise BackupError(f"{path.name} is sealed: set BACKUP_KEY_FILE to the file with its key")
    return Seal(Path(chosen))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_of(folder: Path) -> dict[str, Any]:
    """What a backup says of itself; raises BackupError where there is none or the key does not fit."""
    found = next((path for path in (folder / MANIFEST, folder / f"{MANIFEST}{SEALED}") if path.exists()), None)
    if found is None:
        raise BackupError(f"{folder} holds no backup")
    content: dict[str, Any] = json.loads(read(found))
    return content


def check(folder: Path, manifest: dict[str, Any]) -> None:
    """Raise BackupError when a file is missing or is not what was written."""
    wrong = [
        name
        for name, expected in manifest["files"].items()
        if not (folder / name).is_file() or digest(folder / name) != expected["sha256"]
    ]
    if wrong:
        raise BackupError(f"{folder.name} is damaged ({', '.join(sorted(wrong))}): take an older one")


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """One backup into a folder at a time."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"another backup into {folder} is under way") from None
        yield


@contextmanager
def new_backup(target: Path, now: datetime) -> Iterator[Path]:
    """A folder that gets its name only when all is in it; a failed one is removed."""
    for left in target.glob(f"heartguard-*{PART}"):
        shutil.rmtree(left)
    name = now.strftime(TIME)
    part = target / f"{name}{PART}"
    part.mkdir(mode=0o700)
    try:
        yield part
        _sync(part)
        part.rename(target / name)
        _sync(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def backups(target: Path) -> list[Path]:
    """Every whole backup, oldest first."""
    return sorted(path for path in target.iterdir() if path.is_dir() and NAME.fullmatch(path.name))


def expire(target: Path, keep: int | None, days: int | None, now: datetime) -> list[str]:
    """Delete what is beyond `keep` or older than `days`, never the newest; returns the names."""
    found = backups(target)
    cut = found[: max(0, len(found) - keep)] if keep else []
    if days is not None:
        oldest = (now - timedelta(days=days)).strftime(TIME)
        cut += [path for path in found if path.name < oldest and path not in cut]
    cut = [path for path in cut if path != found[-1]]
    for path in cut:
        path.rename(path.with_name(f"{path.name}{PART}"))  # never half a backup under a whole one's name
        shutil.rmtree(path.with_name(f"{path.name}{PART}"))
    return sorted(path.name for path in cut)


def utc_now() -> datetime:
    """The time that names a backup."""
    return datetime.now(UTC)
