"""The desk of the notification service's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.notification_service.desk import Desk, Neighbour


@pytest.fixture(scope="session")
def neighbours(service) -> Iterator[dict[str, Neighbour]]:
    """The patient and auth services over HTTP."""
    started = {name: Neighbour(service(name)) for name in ("patient", "auth")}
    yield started
    for neighbour in started.values():
        neighbour.stop()


@pytest.fixture
def desk(service, servers, neighbours, clinician) -> Iterator[Desk]:
    """The notifications of an organisation of their own."""
    made = Desk(service("notification"), service("patient"), service("auth"), servers.mail, clinician)
    yield made
    made.forget()
