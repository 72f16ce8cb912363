"""Forged tokens at the services' own doors: none opens one, none breaks one. The gateway's are in tests/gateway."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest

from common import contracts
from common.permissions import AUTHENTICATED, INTERNAL, PUBLIC
from tests.support.forgery import FORGED, Forger
from tests.support.samples import body_of


def kind_of(endpoint):
    """Doors of one kind are the same code: what is asked for, and whether something is written."""
    asked = endpoint.permission if endpoint.permission in (AUTHENTICATED, INTERNAL) else "permission"
    return asked, endpoint.method == "GET"


DOORS = [
    (service, endpoint)
    for service in contracts.built_services()
    for endpoint in {kind_of(item): item for item in contracts.endpoints_of(service)}.values()
    if endpoint.permission is not PUBLIC
]


@pytest.fixture(scope="module")
def knock(service):
    """`knock(name, endpoint, token)`: the answer at one door, as somebody who holds `token`."""

    def call(name, endpoint, token):
        path = re.sub(r"\{(\w+)\}", lambda _: str(uuid4()), endpoint.path)
        body = body_of(endpoint.body_schema) if endpoint.body_schema else None
        return service(name).call(endpoint.method, path, token, json=body)

    return call


@pytest.fixture(scope="module")
def forgers(service):
    settings = service("auth").service.settings
    return Forger.of_users(settings), Forger.of_services(settings)


def test_there_are_doors_at_every_service():
    assert len(FORGED) >= 60
    assert {name for name, _ in DOORS} == set(contracts.built_services())
    assert {kind_of(endpoint) for _, endpoint in DOORS} >= {
        (asked, reads) for asked in ("permission", AUTHENTICATED, INTERNAL) for reads in (True, False)
    }


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_token_opens_no_door(knock, forgers, forged):
    for name, endpoint in DOORS:
        for forger in forgers:
            answer = knock(name, endpoint, FORGED[forged](forger))
            door = f"{name}: {endpoint.method} {endpoint.path}, {forger.type} token"
            assert answer.status_code == 401, door
            assert answer.headers["WWW-Authenticate"].startswith("Bearer"), door
            assert answer.json["error"]["id"] in ("HG-AUTH-001", "HG-AUTH-002"), door


def test_the_same_tool_makes_good_tokens(knock, forgers):
    users, services = forgers
    for name, endpoint in DOORS:
        good = services if endpoint.permission is INTERNAL else users
        if (name, endpoint.path) != ("auth", "/auth/totp/enrol"):  # that one asks for an account, too
            assert knock(name, endpoint, good.sign()).status_code != 401, f"{name}: {endpoint.method} {endpoint.path}"


def test_a_users_token_opens_no_internal_door(knock, forgers):
    users, _ = forgers
    internal = [(name, endpoint) for name, endpoint in DOORS if endpoint.permission is INTERNAL]
    for name, endpoint in internal:
        assert knock(name, endpoint, users.sign()).status_code == 401, f"{name}: {endpoint.path}"
