"""The gateway's WSGI application: the short way of `proxy` in front of the few endpoints of its own."""

from __future__ import annotations

import gc
import os
from urllib.parse import quote, urlencode

import msgspec
from flask import Flask, Response, request
from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector

from common import responses
from common.auth import Claims
from common.config import SERVICES
from common.errors import ApiError, Unavailable
from common.factory import create_service
from common.tokens import TokenVerifier, mint_service_token
from gateway.config import GatewaySettings
from gateway.health import SuiteHealth
from gateway.limits import Limits
from gateway.pages import Pages
from gateway.policy import RouteTable
from gateway.proxy import Proxy, Wsgi
from gateway.routes import api
from gateway.stalled import StalledConnections
from gateway.upstream import Upstreams


def create_app() -> Flask:
    """The Flask app with the proxy around its WSGI entry."""
    app = create_service("gateway", [], GatewaySettings)
    settings: GatewaySettings = app.extensions["heartguard"].settings
    upstreams = Upstreams(settings, SERVICES)
    limits = Limits(settings, lambda claims: _ask_auth(settings, upstreams, claims))
    routes = RouteTable.load(settings.routes_file)
    health = SuiteHealth(upstreams, app.extensions["heartguard"].redis)
    _add_suite_health(app, health)
    pages = Pages(health)
    app.register_blueprint(pages.blueprint())
    StalledConnections(settings.stall_timeout).watch()
    verifier = TokenVerifier(settings)
    proxy = Proxy(app.wsgi_app, pages.paths, _metrics(), settings, routes, verifier, limits, upstreams)
    app.wsgi_app = proxy  # type: ignore[method-assign]
    return app


def _metrics() -> Wsgi:
    """Every metric of this process, or of all workers where there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return make_wsgi_app(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return make_wsgi_app(registry)


def _ask_auth(settings: GatewaySettings, upstreams: Upstreams, claims: Claims) -> bool:
    """Ask auth_service, which holds the truth, whether a token is revoked; raises Unavailable when it cannot tell."""
    question = urlencode(
        {"session_id": claims.session_id or "", "subject": claims.subject, "issued_at": claims.issued_at}
    )
    target = f"/internal/revocations/{quote(claims.token_id, safe='')}?{question}"
    headers = [f"Authorization: Bearer {mint_service_token(settings)}", "Accept: application/json"]
    try:
        answer = upstreams.get("auth", target, headers, settings.read_timeout)
    except ApiError as error:
        raise Unavailable from error
    if answer.status != 200 or not isinstance(answer.body, bytes):
        raise Unavailable
    return bool(msgspec.json.decode(answer.body)["data"]["revoked"])


def _add_suite_health(app: Flask, health: SuiteHealth) -> None:
    (endpoint,) = api.endpoints
    schema = endpoint.item_schema
    assert schema is not None

    def suite_health() -> Response:
        media_type = responses.negotiate(request.headers.get("Accept", ""))
        data = schema.dump(endpoint.view(health))
        up = data["state"] == "up"
        headers = {"Content-Type": f"{media_type}; charset=utf-8"} | ({} if up else {"Retry-After": "1"})
        return Response(responses.render_success(data, media_type), 200 if up else 503, headers)

    app.add_url_rule(endpoint.rule, endpoint.name, suite_health)


app = create_app()
# A request leaves next to no cycles behind. What the imports made stays, and looking for garbage is rare work.
gc.freeze()
gc.set_threshold(50_000, 20, 100)
