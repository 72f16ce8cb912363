"""Forged tokens at a real gateway: none reaches a service, none breaks the gateway."""

from __future__ import annotations

import pytest

from tests.gateway.stage import PATIENT, Gateway
from tests.support.forgery import FORGED, Forger

DOORS = (("GET", "/patients"), ("PUT", PATIENT), ("GET", "/auth/me"))


@pytest.fixture
def forger(settings) -> Forger:
    return Forger.of_users(settings())


def knock(gateway: Gateway, method: str, target: str, token: str):
    body = b"{}" if method == "PUT" else None
    return gateway.ask(method, target, {"Authorization": f"Bearer {token}"}, body)


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_token_does_not_pass(gateway, services, forger, forged):
    for method, target in DOORS:
        given = knock(gateway, method, target, FORGED[forged](forger))
        assert given.status == 401, (method, target)
        assert given.error_id in ("HG-AUTH-001", "HG-AUTH-002")
        assert given.headers["WWW-Authenticate"].startswith("Bearer")
    assert not any(service.received for service in services.values())


def test_the_same_tool_makes_good_tokens(gateway, services, forger):
    assert [knock(gateway, method, target, forger.sign()).status for method, target in DOORS] == [200] * 3


def test_a_token_of_services_does_not_pass(gateway, services, forger):
    for method, target in DOORS:
        assert knock(gateway, method, target, forger.other.sign()).status == 401
    assert not any(service.received for service in services.values())


@pytest.mark.parametrize("size", [10_000, 100_000, 1_000_000])
def test_a_token_of_any_size_is_refused(gateway, services, size):
    """The server may refuse the head before the gateway sees it, or close while it still comes."""
    head = f"GET /patients HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {'x' * size}\r\n\r\n"
    try:
        given = gateway.send_raw(head.encode())
    except OSError:
        given = b""
    assert not given or given.split(b" ")[1] in (b"400", b"401", b"431"), given[:200]
    assert not any(service.received for service in services.values())
    assert gateway.ask("GET", "/health").status == 200
