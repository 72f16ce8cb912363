"""Organisations and their people, shared by the tests here."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from tests.support.listening import listening
from tests.support.services import Person

SUPERADMIN = Person(org_id=None, roles=("superadmin",))


@pytest.fixture
def organizations(service):
    return service("organization")


@pytest.fixture(scope="module")
def users(service):
    """The user service, listening where the organization service looks for it."""
    with listening(service("user")) as running:
        yield running


@pytest.fixture(scope="module")
def auth(service):
    """The auth service, listening where the organization service looks for it."""
    with listening(service("auth")) as running:
        yield running


@pytest.fixture(scope="module")
def media(service):
    """The media service, without a store, listening where the organization service looks for it."""
    with listening(service("media")) as running:
        yield running


@pytest.fixture
def create(organizations):
    """Create an organisation as a superadmin."""

    def send(**values):
        body = {"code": f"hospital-{uuid4().hex[:12]}", "name": "Hospital del Mar"} | values
        return organizations.call("POST", "/organizations", SUPERADMIN, json=body)

    return send


@pytest.fixture
def hospital(create):
    return create().json["data"]


@pytest.fixture
def admin(hospital):
    """Somebody with every permission in the hospital."""
    return Person(org_id=UUID(hospital["id"]), roles=("org_admin",))
