"""The SQLite file under the embedded engine: schema, connections, transactions and errors.

An acknowledged write is on the disk: WAL with synchronous=FULL syncs the log at each commit (0.3 ms on a
virtual disk), so it survives kill -9 and, as far as the disk keeps its word, a power cut. NORMAL would lose
the last seconds then.
"""

import math
import os
import random
import sqlite3
import threading
import time as clock
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, LifoQueue

from .points import QueryTooLarge, StoreUnavailable

BUSY_MS = 2_000
READ_SECONDS = 2.0
READERS = 8
FREE_PAGES_PER_SHRINK = 4_000

MIGRATIONS = (
    """
    CREATE TABLE bucket (
        id INTEGER PRIMARY KEY,
        org_id TEXT NOT NULL,
        name TEXT NOT NULL,
        retention INTEGER,
        UNIQUE (org_id, name)
    );
    CREATE TABLE series (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        bucket_id INTEGER NOT NULL REFERENCES bucket ON DELETE CASCADE,
        measurement TEXT NOT NULL,
        tags TEXT NOT NULL,
        UNIQUE (bucket_id, measurement, tags)
    );
    CREATE TABLE series_tag (
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        series_id INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
        PRIMARY KEY (key, value, series_id)
    ) WITHOUT ROWID;
    CREATE INDEX series_tag_series ON series_tag (series_id);
    CREATE TABLE field (
        id INTEGER PRIMARY KEY,
        bucket_id INTEGER NOT NULL REFERENCES bucket ON DELETE CASCADE,
        measurement TEXT NOT NULL,
        name TEXT NOT NULL,
        type TEXT NOT NULL,
        UNIQUE (bucket_id, measurement, name)
    );
    CREATE TABLE point (
        series_id INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
        time INTEGER NOT NULL,
        field_id INTEGER NOT NULL,
        value NOT NULL,
        PRIMARY KEY (series_id, time, field_id)
    ) WITHOUT ROWID;
    CREATE TABLE block (
        id INTEGER PRIMARY KEY,
        series_id INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
        start INTEGER NOT NULL,
        rate INTEGER NOT NULL,
        count INTEGER NOT NULL,
        data BLOB NOT NULL,
        UNIQUE (series_id, start)
    );
    """,
)
"""Applied in order; the file's user_version counts how many it has. Blocks of one series never overlap."""


class Connection(sqlite3.Connection):
    """A connection that knows until when its read may take."""

    deadline = math.inf

    def late(self) -> bool:
        """Tell whether the read has used up its time."""
        return clock.monotonic() > self.deadline


class SqliteFile:
    """One writer and a few readers at a time in this process; the file's locks arrange the others."""

    def __init__(self, path: str | Path) -> None:
        """Open or create the file (mode 0600) and migrate it; raises StoreUnavailable."""
        self._path = Path(path)
        self._write_lock = threading.Lock()
        self._writer: Connection | None = None
        self._readers: LifoQueue[Connection | None] = LifoQueue()
        for _ in range(READERS):
            self._readers.put(None)  # connected when first needed
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise StoreUnavailable(f"cannot open the time-series file: {error.strerror}") from error
        with _translated():
            _migrate(self._path)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One write transaction: commits at the end, rolls back on any exception."""
        with self._writing_alone() as db:
            _begin(db)
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view; raises QueryTooLarge when reading takes over READ_SECONDS."""
        try:
            db = self._readers.get(timeout=BUSY_MS / 1000)
        except Empty as error:
            raise StoreUnavailable("too many reads at once") from error
        try:
            with _translated():
                db = db or _connect(self._path)
                db.deadline = clock.monotonic() + READ_SECONDS
                db.set_progress_handler(db.late, 10_000)
                db.execute("BEGIN")
                yield db
        finally:
            if db:
                db.deadline = math.inf
                if db.in_transaction:
                    db.execute("ROLLBACK")
            self._readers.put(db)

    def shrink(self) -> None:
        """Return some free pages to the disk and empty the log, which still holds what was deleted."""
        with self._writing_alone() as db:
            # as a script, because execute() stops this pragma after its first page
            db.executescript(f"PRAGMA incremental_vacuum({FREE_PAGES_PER_SHRINK})")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the connections once they are idle."""
        with self._write_lock:
            if self._writer:
                self._writer.close()
                self._writer = None
        for db in [self._readers.get(timeout=BUSY_MS / 1000) for _ in range(READERS)]:
            if db:
                db.close()
            self._readers.put(None)

    @contextmanager
    def _writing_alone(self) -> Iterator[Connection]:
        """Threads of this process queue here rather than in SQLite, whose waiting is by sleeping."""
        if not self._write_lock.acquire(timeout=BUSY_MS / 1000):
            raise StoreUnavailable("the time-series file is busy")
        try:
            with _translated():
                self._writer = self._writer or _connect(self._path)
                yield self._writer
        finally:
            self._write_lock.release()


def _connect(path: Path) -> Connection:
    db = sqlite3.connect(
        path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False, factory=Connection
    )
    db.executescript(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;"
        "PRAGMA cache_size = -2000; PRAGMA journal_size_limit = 16777216;"
    )
    return db


def _migrate(path: Path) -> None:
    db = _connect(path)
    try:
        if not db.execute("PRAGMA page_count").fetchone()[0]:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise StoreUnavailable("the time-series file was written by a newer version of this program")
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            for statement in script.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number}")
        db.execute("COMMIT")
    finally:
        db.close()


def _begin(db: Connection) -> None:
    """Begin to write, trying each millisecond: SQLite waits up to 100 ms between tries, which starves."""
    deadline = clock.monotonic() + BUSY_MS / 1000
    db.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or clock.monotonic() > deadline:
                    raise
                clock.sleep(random.uniform(0.0002, 0.002))
    finally:
        db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")


@contextmanager
def _translated() -> Iterator[None]:
    """Turn SQLite's errors into the engine's."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            raise QueryTooLarge("the query takes too long") from error
        raise StoreUnavailable(f"the time-series file cannot serve: {error.sqlite_errorname}") from error
    except sqlite3.DatabaseError as error:
        raise StoreUnavailable("the time-series file is damaged") from error
