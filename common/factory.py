"""Makes a service's Flask app: endpoints, hooks, `/health`, `/ready`, `/metrics`."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import redis
import structlog
from flask import Flask, Response, request

from common import api, cache, conditional, handling, middleware, observability, responses
from common.care import CareRelations
from common.config import ServiceSettings, Settings, package_of
from common.database import Database
from common.http import InternalClient
from common.revocation import Revocations
from common.tokens import TokenVerifier
from common.vault import Vault

log = structlog.get_logger()

Check = Callable[[], None]


@dataclass(frozen=True)
class Service:
    """What a running service holds."""

    settings: Settings
    verifier: TokenVerifier
    revocations: Revocations
    redis: redis.Redis
    keeper: Vault
    """Seals the answers that Idempotency-Keys keep."""
    database: Database | None = None
    resources: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)


def resources_of(package: str, settings: Settings, database: Database | None) -> dict[str, Any]:
    """What views, consumers and tasks may ask for by name: the common ones and those of `<package>.resources`."""
    found: dict[str, Any] = {"settings": settings, "database": database, "client": InternalClient(settings)}
    if importlib.util.find_spec(f"{package}.resources"):
        found |= importlib.import_module(f"{package}.resources").open_resources(settings)
    return found


def create_service(name: str, apis: Iterable[api.Api], settings_class: type[Settings]) -> Flask:
    """The app of service `name` with the endpoints of `apis`.

    A view that asks for a parameter nobody provides, or two views of one name, stop the start.
    """
    settings = settings_class.load(name)
    observability.configure_logging(settings)
    app = Flask(f"{name}_service", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_content_length
    app.url_map.strict_slashes = False
    database = Database(settings) if isinstance(settings, ServiceSettings) else None
    client = cache.connect(settings.redis_url)
    checks: dict[str, Check] = {"redis": lambda: _ping(client)}
    if database is not None:
        checks["postgresql"] = database.ping
    resources = resources_of(package_of(name), settings, database) | {"redis": client}
    revocations = Revocations(client)
    resources["revocations"] = revocations
    resources["care"] = CareRelations(resources["client"], client)
    checks |= resources.pop("checks", {})
    app.extensions["heartguard"] = Service(
        settings,
        TokenVerifier(settings),
        revocations,
        client,
        Vault(settings.internal_signing_keys),
        database,
        resources,
        checks,
    )
    middleware.install(app)
    observability.serve_metrics(app)
    observability.trace(settings, app)
    _add_probes(app)
    endpoints = [endpoint for group in apis for endpoint in group.endpoints]
    for endpoint in endpoints:
        _add_endpoint(app, endpoint, conditional.find_resource(endpoint, endpoints), resources)
    return app


def _add_endpoint(app: Flask, endpoint: api.Endpoint, resource: api.Endpoint | None, resources: dict[str, Any]) -> None:
    request_parts = {"caller", "body", "query", *endpoint.parameters, *resources}
    unknown = endpoint.wants - request_parts - {"session", "precondition", "prepared"}
    unknown |= endpoint.prepares_with - request_parts - {"onward_key"}
    if unknown:
        raise TypeError(f"{endpoint.name}: nobody provides {', '.join(sorted(unknown))}")
    app.add_url_rule(endpoint.rule, endpoint.name, handling.handler_of(endpoint, resource), methods=[endpoint.method])


def _ping(client: redis.Redis) -> None:
    client.ping()


def _add_probes(app: Flask) -> None:
    service: Service = app.extensions["heartguard"]

    def health() -> Response:
        """Alive: the process answers."""
        return _document({"service": service.settings.service, "state": "up"}, 200)

    def ready() -> Response:
        """Ready: every dependency answers, each named with its state and latency."""
        dependencies = {name: _check(name, check) for name, check in sorted(service.checks.items())}
        up = all(item["state"] == "up" for item in dependencies.values())
        state = {"service": service.settings.service, "state": "up" if up else "degraded"}
        return _document(state | {"dependencies": dependencies}, 200 if up else 503)

    app.add_url_rule("/health", "health", health)
    app.add_url_rule("/ready", "ready", ready)


def _check(name: str, check: Check) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        check()
        state = "up"
    except Exception as error:  # whatever a dependency's client raises means the same here: it is away
        log.warning("ready.dependency_away", dependency=name, reason=type(error).__name__)
        state = "down"
    return {"state": state, "latency_ms": round((time.perf_counter() - started) * 1000, 2)}


def _document(data: dict[str, Any], status: int) -> Response:
    media_type = responses.negotiate(request.headers.get("Accept", ""))
    headers = {"Content-Type": f"{media_type}; charset=utf-8"}
    if status == 503:
        headers["Retry-After"] = "1"
    return Response(responses.render_success(data, media_type), status, headers)
