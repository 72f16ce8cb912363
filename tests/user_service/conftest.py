"""The user service asks the auth service over HTTP: here it runs."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.support.listening import listening


@pytest.fixture(scope="module")
def auth(service):
    """The auth service, listening where the user service looks for it."""
    with listening(service("auth")) as running:
        yield running


@pytest.fixture
def colleague(auth, clinician) -> str:
    """The id of an account in the clinician's organisation that the user service has never seen."""
    account = {
        "name": "Luis Gil",
        "email": f"{uuid4()}@hospital.es",
        "password": f"{uuid4()} largo",
        "roles": ["clinician", "org_viewer"],
    }
    answer = auth.call("POST", "/auth/users", clinician, json=account)
    assert answer.status_code == 201, answer.text
    return answer.json["data"]["id"]
