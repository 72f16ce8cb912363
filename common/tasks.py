"""Background work of a service: a function that runs when it is woken, and at the latest every so many seconds."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg2
import structlog
from psycopg2 import sql
from sqlalchemy.exc import SQLAlchemyError

from common.database import Database
from common.errors import ApiError
from common.publishing import BrokerAway

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Task:
    """`run(database, **resources)` returns how much it did; it is called again at once until that is 0."""

    name: str
    every_s: float
    run: Callable[..., int]


registry: list[Task] = []


def task(name: str, *, every: float) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Declare background work, woken by `common.database.notify(session, name)` or after `every` seconds."""

    def declare(function: Callable[..., int]) -> Callable[..., int]:
        registry.append(Task(name, every, function))
        return function

    return declare


class TaskRunner:
    """Runs one task on its own thread, listening on its own connection."""

    def __init__(self, database: Database, item: Task, call: Callable[[], int], stopping: threading.Event) -> None:
        self._database, self._task, self._call, self._stopping = database, item, call, stopping

    def run(self) -> None:
        """Run until told to stop; a lost database is waited for."""
        while not self._stopping.is_set():
            try:
                self._listen()
            except (psycopg2.Error, OSError) as error:
                log.warning("task.database_away", task=self._task.name, reason=type(error).__name__)
                self._stopping.wait(1.0)

    def _listen(self) -> None:
        connection = self._database.connect()
        try:
            connection.autocommit = True
            channel = sql.Identifier(f"{self._database.service}.{self._task.name}")
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL("LISTEN {}").format(channel))
            while not self._stopping.is_set():
                self._work()
                self._wait(connection)
        finally:
            connection.close()

    def _work(self) -> None:
        try:
            while not self._stopping.is_set() and self._call():
                pass
        except (BrokerAway, SQLAlchemyError, ApiError) as error:
            log.warning("task.postponed", task=self._task.name, reason=type(error).__name__)
            self._stopping.wait(0.5)

    def _wait(self, connection: Any) -> None:
        """Until somebody notifies, the time is over, or the worker stops."""
        waited = 0.0
        while waited < self._task.every_s and not self._stopping.is_set():
            step = min(0.5, self._task.every_s - waited)
            readable, _, _ = select.select([connection], [], [], step)
            if readable:
                connection.poll()
                if connection.notifies:
                    connection.notifies.clear()
                    return
            waited += step
