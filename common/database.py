"""PostgreSQL: the base of a service's models, and the one place where a transaction begins and commits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

import psycopg2
from sqlalchemy import URL, CheckConstraint, MetaData, Select, create_engine, event, func, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, declared_attr, mapped_column, registry
from sqlalchemy.types import DateTime, Uuid
from uuid6 import uuid7

from common.config import ServiceSettings
from common.errors import NotFound

Row = TypeVar("Row")

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
STATEMENT_TIMEOUT_MS, LOCK_TIMEOUT_MS, IDLE_TIMEOUT_MS, POOL_TIMEOUT_S = 2000, 1000, 5000, 1
WORKER_STATEMENT_TIMEOUT_MS = 30_000


def service_registry() -> registry:
    """The registry of one service's models. No table names a schema: the connection's search_path does."""
    return registry(
        metadata=MetaData(naming_convention=NAMING),
        type_annotation_map={datetime: DateTime(timezone=True), UUID: Uuid()},
    )


class Entity:
    """Mixin of a row with a UUIDv7 id, its times, and a version that stops lost updates."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    version: Mapped[int] = mapped_column()

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:
        # Eager: an answer is rendered after the commit where a view opens its transactions itself.
        return {"version_id_col": cls.version, "eager_defaults": True}


def one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    """A check that `column` holds one of `values`."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


class Scope(Enum):
    """Whose rows a transaction may see where it is not one organisation's."""

    ALL_ORGANIZATIONS = "all"
    NONE = ""


ALL_ORGANIZATIONS = Scope.ALL_ORGANIZATIONS


class UnauditedWriteError(RuntimeError):
    """A transaction changed rows and recorded no audit event: a mistake of ours, never committed."""


class Database:
    """A service's own schema behind its own role."""

    def __init__(self, settings: ServiceSettings, *, pool_size: int | None = None, worker: bool = False) -> None:
        statement_timeout = WORKER_STATEMENT_TIMEOUT_MS if worker else STATEMENT_TIMEOUT_MS
        options = (
            f'-csearch_path="{settings.service}" -cstatement_timeout={statement_timeout} '
            f"-clock_timeout={LOCK_TIMEOUT_MS} -cidle_in_transaction_session_timeout={IDLE_TIMEOUT_MS} -ctimezone=UTC"
        )
        self.service = settings.service
        self.url = URL.create(
            "postgresql+psycopg2",
            f"heartguard_{settings.service}",
            settings.database_password,
            settings.database_host,
            settings.database_port,
            settings.database_name,
        )
        self.connect_args: dict[str, Any] = {
            "options": options,
            "connect_timeout": 2,
            "application_name": f"{settings.service}{' worker' if worker else ''}",
        }
        self._next_password = settings.database_password_next
        self.engine = create_engine(
            self.url,
            creator=self.connect,
            pool_size=pool_size or settings.database_pool,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            pool_pre_ping=not worker,  # a worker holds its message and tries again; a request cannot
            hide_parameters=True,
        )

    def connect(self) -> Any:
        """A new connection of the driver's, outside the pool.

        While the role's password is being changed two are known: nobody here sees the moment at which it changes.
        """
        place: dict[str, Any] = {
            "host": self.url.host,
            "port": self.url.port,
            "dbname": self.url.database,
            "user": self.url.username,
            **self.connect_args,
        }
        try:
            return psycopg2.connect(password=self.url.password, **place)
        except psycopg2.OperationalError:
            if not self._next_password:
                raise
            return psycopg2.connect(password=self._next_password, **place)

    @contextmanager
    def transaction(self, organization: UUID | Scope | None, *, technical: bool = False) -> Iterator[Session]:
        """One transaction that sees the rows of `organization` only (row-level security); commits when the block ends.

        `technical` marks work that changes no business fact (leases, cursors, claims) and needs no audit event.
        Raises UnauditedWriteError when rows changed and `record()` was not called.
        """
        scope = organization.value if isinstance(organization, Scope) else str(organization or "")
        with Session(self.engine, expire_on_commit=False) as session:
            session.info.update(service=self.service, wrote=False, recorded=technical, woken=set())
            session.execute(text("SELECT set_config('app.org_id', :scope, true)"), {"scope": scope})
            yield session
            session.flush()
            if session.info["wrote"] and not session.info["recorded"]:
                raise UnauditedWriteError(f"{self.service}: a change without an audit event")
            session.commit()

    def ping(self) -> None:
        """Raise when the database does not answer."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


@event.listens_for(Session, "before_flush")
def _notice_changes(session: Session, _context: Any, _instances: Any) -> None:
    if session.new or session.deleted or any(session.is_modified(row) for row in session.dirty):
        session.info["wrote"] = True


@event.listens_for(Session, "do_orm_execute")
def _notice_statements(state: ORMExecuteState) -> None:
    if state.is_insert or state.is_update or state.is_delete:
        state.session.info["wrote"] = True


def get_one(session: Session, statement: Select[Row]) -> Row:
    """What a statement finds, which is one thing at most; raises NotFound."""
    row = session.scalar(statement)
    if row is None:
        raise NotFound
    return row


# PostgreSQL classes: 08 connection, 53 resources, 57 operator intervention, 40 serialisation, 55 lock.
_OUTAGE_CLASSES = ("08", "53", "57", "40", "55")


def is_outage(error: DBAPIError) -> bool:
    """True when the database was away or busy and the same statement may succeed later."""
    code = getattr(error.orig, "pgcode", None)
    return error.connection_invalidated or code is None or str(code).startswith(_OUTAGE_CLASSES)


def notify(session: Session, channel: str) -> None:
    """Wake the task `channel` of this service's worker when the transaction commits."""
    woken: set[str] = session.info["woken"]
    if channel not in woken:
        woken.add(channel)
        name = f"{session.info['service']}.{channel}"
        session.connection().execute(text("SELECT pg_notify(:name, '')"), {"name": name})
