"""Fixtures of all tests: real servers, migrated schemas, services, people."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from sqlalchemy import text

from common.config import SERVICE_PORTS, SERVICES
from common.database import ALL_ORGANIZATIONS
from tests.support.listening import listening
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
def empty_outboxes(service) -> None:
    """Real workers publish only what their own test brings about, not what thousands of others left."""
    for name in SERVICES:
        with service(name).database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
            session.execute(text("DELETE FROM outbox"))


@pytest.fixture(autouse=True)
def addresses() -> Iterator[None]:
    """No test leaves an address of a service behind: the processes of a later one would ask nobody there."""
    before = _addresses()
    yield
    assert _addresses() == before


def _addresses() -> dict[str, str | None]:
    return {name: os.environ.get(f"{name.upper()}_URL") for name in SERVICE_PORTS}


@pytest.fixture
def cared_for(service) -> Iterator[Callable[[Person, object], None]]:
    """`cared_for(person, patient_id)`: a link by which the person sees the patient; the patient service is asked."""
    patients = service("patient")

    def link(person: Person, patient_id: object) -> None:
        with patients.database.transaction(person.org_id, technical=True) as session:
            ids = {"org": person.org_id, "patient": patient_id, "person": person.user_id, "link": uuid4()}
            session.execute(_PATIENT, ids)
            session.execute(_LINK, ids)

    with listening(patients):
        yield link


_PATIENT = text(
    "INSERT INTO patients (id, org_id, name, birthdate, sex, risk_level, version)"
    " VALUES (:patient, :org, 'Ana Pérez', '1950-01-02', 'F', 'low', 1) ON CONFLICT DO NOTHING"
)
_LINK = text(
    "INSERT INTO caregiver_patient (id, org_id, patient_id, user_id, relation, version)"
    " VALUES (:link, :org, :patient, :person, 'child', 1)"
)


@pytest.fixture
def clinician() -> Person:
    """Somebody with every permission in an organisation of their own."""
    return Person()


@pytest.fixture
def stranger() -> Person:
    """The same in another organisation."""
    return Person()
