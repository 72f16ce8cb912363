"""The desk of the notification service's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.notification_service.desk import Desk
from tests.notification_service.workers import WorkerProcess
from tests.support.listening import listening


@pytest.fixture(scope="module")
def neighbours(service) -> Iterator[None]:
    """The services that are asked, over HTTP."""
    with ExitStack() as open_:
        for name in ("patient", "auth", "user", "alert"):
            open_.enter_context(listening(service(name)))
        yield


@pytest.fixture
def desk(service, servers, neighbours, clinician) -> Iterator[Desk]:
    """The notifications of an organisation of their own."""
    made = Desk(*map(service, ("notification", "patient", "auth", "user", "alert")), servers.mail, clinician)
    yield made
    made.forget()


@pytest.fixture
def log(tmp_path) -> Path:
    """What the workers write."""
    return tmp_path / "worker.log"


@pytest.fixture
def worker(log, empty_outboxes) -> Iterator[Callable[..., WorkerProcess]]:
    """`worker("alert")`: a worker process, ended with the test."""
    started: list[WorkerProcess] = []

    def start(service: str = "notification", failpoints: str = "") -> WorkerProcess:
        started.append(WorkerProcess(log, service, failpoints))
        return started[-1]

    yield start
    for process in started:
        process.stop()
