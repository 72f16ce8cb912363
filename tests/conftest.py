"""Fixtures of all tests: real servers, migrated schemas, services, people."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.support.servers import SessionServers, session_servers
from tests.support.services import Person, ServiceUnderTest


@pytest.fixture(scope="session")
def servers() -> SessionServers:
    """PostgreSQL, Redis, RabbitMQ, mail catcher and object store, started once, with every schema migrated."""
    started = session_servers()
    os.environ.update(started.environment, HEARTGUARD_ENV_FILE=os.devnull)
    from common.migrate import main as migrate

    migrate([])
    return started


@pytest.fixture(scope="session")
def service(servers: SessionServers) -> Callable[[str], ServiceUnderTest]:
    """`service("patient")`: a running service, made once."""
    made: dict[str, ServiceUnderTest] = {}

    def find(name: str) -> ServiceUnderTest:
        if name not in made:
            made[name] = ServiceUnderTest(name)
        return made[name]

    return find


@pytest.fixture
def clinician() -> Person:
    """Somebody with every permission in an organisation of their own."""
    return Person()


@pytest.fixture
def stranger() -> Person:
    """The same in another organisation."""
    return Person()
