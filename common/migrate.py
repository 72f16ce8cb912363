"""`python -m common.migrate [SERVICE ...]`: bring schemas to their newest migration, as the migrations role.

`python -m common.migrate new SERVICE "message"` writes a migration from the difference between models and schema.
"""

from __future__ import annotations

import importlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from psycopg2.errors import LockNotAvailable
from sqlalchemy import URL, Connection, MetaData, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from common.config import ROOT, SERVICES, Settings, package_of, setting

# One key per suite: two operators who migrate at once wait for each other.
_LOCK_KEY = 7_240_001
# An ALTER that waits behind a long transaction makes everybody wait behind it: it gives way soon, and comes again.
_LOCK_TIMEOUT_MS = 300
_PAUSE_S, _PATIENCE_S = 1.0, 300.0


@dataclass(frozen=True, kw_only=True)
class MigrationSettings(Settings):
    """Where and as whom to migrate."""

    database_host: str = setting("DATABASE_HOST", "127.0.0.1")
    database_port: int = setting("DATABASE_PORT", 5432, kind="int")
    database_name: str = setting("DATABASE_NAME", "heartguard")
    migrations_password: str = setting("MIGRATIONS_DATABASE_PASSWORD")


def connect(settings: MigrationSettings, service: str) -> Connection:
    """A connection as the migrations role whose search_path is the service's schema."""
    url = URL.create(
        "postgresql+psycopg2",
        "heartguard_migrations",
        settings.migrations_password,
        settings.database_host,
        settings.database_port,
        settings.database_name,
    )
    options = f'-csearch_path="{service}" -clock_timeout={_LOCK_TIMEOUT_MS} -ctimezone=UTC'
    return create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args={"options": options}).connect()


def config_of(service: str, connection: Connection) -> Config:
    """Alembic's configuration of one service."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "common" / "migrations"))
    config.set_main_option("version_locations", str(folder_of(service)))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    config.attributes["metadata"] = metadata_of(service)
    return config


def folder_of(service: str) -> Path:
    """Where a service's migrations are."""
    return ROOT / package_of(service) / "migrations"


def metadata_of(service: str) -> MetaData:
    """The tables of a service's models."""
    metadata: MetaData = importlib.import_module(f"{package_of(service)}.models").Base.metadata
    return metadata


def upgrade(service: str, settings: MigrationSettings) -> None:
    """Migrate one service's schema to its head; concurrent runs wait for each other.

    A revision that does not get its locks is tried again from its beginning, for some minutes; then the error is
    raised, and what came before it stays done.
    """
    with connect(settings, service) as connection:
        # Asked for again and again: who waits inside PostgreSQL holds a snapshot, and an index that is built
        # concurrently waits for that one in turn.
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK_KEY}):
            connection.rollback()
            time.sleep(_PAUSE_S)
        connection.commit()
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                connection.execute(text(f"SET lock_timeout = {_LOCK_TIMEOUT_MS}"))
                connection.commit()
                command.upgrade(config_of(service, connection), "head")
                connection.commit()
                return
            except OperationalError as error:
                if not isinstance(error.orig, LockNotAvailable) or time.monotonic() > deadline:
                    raise
                connection.rollback()
                print(f"{service}: a table is in use; trying again", flush=True)
                time.sleep(_PAUSE_S)


def new(service: str, message: str, settings: MigrationSettings) -> None:
    """Write the next migration of a service from its models."""
    with connect(settings, service) as connection:
        number = f"{len(list(folder_of(service).glob('[0-9]*.py'))) + 1:04d}"
        command.revision(config_of(service, connection), message, autogenerate=True, rev_id=number)


def main(arguments: list[str]) -> int:
    """Run the command line."""
    settings = MigrationSettings.load("migrations")
    if arguments[:1] == ["new"]:
        new(arguments[1], arguments[2], settings)
        return 0
    chosen = [name.removesuffix("_service") for name in arguments] or list(SERVICES)
    for service in chosen:
        if any(folder_of(service).glob("[0-9]*.py")):
            upgrade(service, settings)
            print(f"{service}: schema is up to date", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
