from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import GatewaySettings
from ops.native.servers.redis import Redis
from tests.gateway.stage import Gateway, Service, environment, private_redis

UPSTREAMS = ("auth", "patient", "alert", "media", "device", "audit")


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    with private_redis() as server:
        yield server


@pytest.fixture(scope="session")
def all_services() -> Iterator[dict[str, Service]]:
    services = {name: Service() for name in UPSTREAMS}
    yield services
    for service in services.values():
        service.close()


@pytest.fixture
def services(all_services: dict[str, Service]) -> dict[str, Service]:
    for service in all_services.values():
        service.reset()
    return all_services


@pytest.fixture(scope="session")
def ports(all_services: dict[str, Service]) -> dict[str, int]:
    return {name: service.port for name, service in all_services.items()}


@pytest.fixture(scope="session")
def shared_gateway(redis: Redis, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    # The breaker has its own tests; here one broken answer must not spoil the next test.
    gateway = Gateway(folder, environment(folder, redis.url, ports, GATEWAY_BREAKER_FAILURES="1000000"))
    yield gateway.start()
    gateway.stop()


@pytest.fixture
def gateway(shared_gateway: Gateway, services: dict[str, Service]) -> Gateway:
    return shared_gateway


@pytest.fixture
def new_gateway(redis: Redis, ports: dict[str, int], services: dict[str, Service], tmp_path: Path) -> Iterator:
    """`new_gateway(VARIABLE="value")`: a gateway of one test's own."""
    started: list[Gateway] = []

    def start(**variables: str) -> Gateway:
        gateway = Gateway(tmp_path, environment(tmp_path, redis.url, ports, **variables))
        started.append(gateway)
        return gateway.start()

    yield start
    for gateway in started:
        if gateway.process.poll() is None:
            gateway.stop()


@pytest.fixture
def settings(redis: Redis, ports: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`settings(VARIABLE="value")`: the settings that such an environment gives."""

    def load(**variables: str) -> GatewaySettings:
        for name, value in environment(tmp_path, redis.url, ports, **variables).items():
            monkeypatch.setenv(name, value)
        return GatewaySettings.load("gateway")

    return load
