"""The short way of a proxied request: route, token, limits, permission, service, answer. Flask is not involved."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from hmac import compare_digest
from http.client import responses as reasons
from ipaddress import ip_address
from typing import Any

import structlog
from prometheus_client import Counter, Histogram

from common.auth import Claims
from common.errors import (
    ApiError,
    InternalError,
    InvalidToken,
    ValidationFailed,
)
from common.middleware import clean_request_id
from common.responses import render_error
from common.tokens import TokenVerifier
from gateway.access_log import write_line
from gateway.answers import HOP_BY_HOP, Answer, Headers
from gateway.bodies import ArrivingBody, declared_length, whole_body
from gateway.config import GatewaySettings
from gateway.limits import Limits
from gateway.policy import Route, RouteTable, check_permission
from gateway.slow_lane import SlowLane
from gateway.upstream import READS, Call, Upstreams, header_line

log = structlog.get_logger(service="gateway")

_REQUESTS = Counter("heartguard_gateway_requests_total", "Requests answered", ["upstream", "method", "route", "status"])
_SECONDS = Histogram(
    "heartguard_gateway_request_seconds",
    "Time to the answer",
    ["upstream", "method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)

# Headers that libcurl would add by itself; a line without a value keeps it from that.
_NOT_LIBCURLS = ("Accept:", "User-Agent:", "Expect:")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]
_CORS_REQUEST_HEADERS = "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, X-Request-ID"
_CORS_ANSWER_HEADERS = (
    "ETag, Location, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Request-ID"
)


# Framing, what the gateway states itself, and what services believe about a caller. `Content_Length` with an
# underscore arrives as HTTP_CONTENT_LENGTH like a header of its own.
_NOT_THE_CLIENTS = re.compile(
    f"{HOP_BY_HOP}|host|expect|content-length|content-type|forwarded|via|x-real-ip|x-request-id|x-deadline"
    "|x-(?:user|org|forwarded)-.*"
)


class _ForwardedNames(dict[str, str]):
    """WSGI key -> name of the header to send on, empty for what stays here. Remembers a bounded number."""

    def __missing__(self, key: str) -> str:
        name = key[5:].replace("_", "-").lower()
        stays = not key.startswith("HTTP_") or _NOT_THE_CLIENTS.fullmatch(name) is not None
        # granian merges the environment in, where a variable HTTP_ANYTHING looks like a header.
        forwarded = "" if stays or key in os.environ else name
        if len(self) < 1000:
            self[key] = forwarded
        return forwarded


class Proxy:
    """WSGI middleware: the gateway's own paths go to Flask, everything else to the service that declared it."""

    def __init__(
        self,
        app: Wsgi,
        pages: frozenset[str],
        metrics: Wsgi,
        settings: GatewaySettings,
        routes: RouteTable,
        verifier: TokenVerifier,
        limits: Limits,
        upstreams: Upstreams,
    ) -> None:
        self._app, self._pages, self._metrics = app, pages, metrics
        self._settings, self._routes = settings, routes
        self._verifier, self._limits, self._upstreams = verifier, limits, upstreams
        self._names = _ForwardedNames()
        self._meters: dict[tuple[str, str, str, int], tuple[Counter, Histogram]] = {}
        self._origins = frozenset(settings.cors_allowed_origins)
        self._lane = SlowLane(settings.threads)
        self._logs_requests = settings.log_level in ("DEBUG", "INFO")

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path in ("/health", "/ready"):  # asked by whoever runs the gateway, every few seconds
            return self._app(environ, self._with_cors(environ, start_response))
        if path in self._pages or path.startswith("/gateway/"):
            return self._show(environ, start_response)
        if path == "/metrics" and self._may_scrape(environ):
            return self._metrics(environ, start_response)
        return self._pass(environ, start_response, path)

    def _show(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """A page of the gateway's own: open to everybody, so limited by address."""
        allowance: Headers = []
        start_response = self._with_cors(environ, start_response)
        try:
            self._limits.admit("read", self._address_of(environ), None, allowance)
        except ApiError as error:
            request_id = clean_request_id(environ.get("HTTP_X_REQUEST_ID"))
            answer = _render(error, environ, request_id)
            headers = [*answer.headers, *allowance]
            headers += [("X-Request-ID", request_id), ("Content-Length", str(answer.length))]
            start_response(f"{answer.status} {reasons[answer.status]}", headers)
            return [answer.body] if isinstance(answer.body, bytes) else answer.body

        def start(status: str, headers: Headers, *arguments: Any) -> Any:
            return start_response(status, [*headers, *allowance], *arguments)

        return self._app(environ, start)

    def _pass(self, environ: Environ, start_response: StartResponse, path: str) -> Iterable[bytes]:
        started = time.perf_counter()
        request_id = clean_request_id(environ.get("HTTP_X_REQUEST_ID"))
        route: Route | None = None
        claims: Claims | None = None
        allowance: Headers = []
        try:
            method = environ["REQUEST_METHOD"]
            if method == "OPTIONS":
                answer = self._preflight(environ, path)
            else:
                route, target = self._routes.match(method, path)
                address = self._address_of(environ)
                claims = self._admit(environ, route, address, allowance)
                answer = self._forward(environ, route, target, address, request_id)
        except ApiError as error:
            answer = _render(error, environ, request_id)
        except Exception:
            log.exception("request.failed", request_id=request_id)
            answer = _render(InternalError(), environ, request_id)
        headers = [*answer.headers, *allowance, ("X-Request-ID", request_id)]
        if answer.length is not None:
            headers.append(("Content-Length", str(answer.length)))
        self._with_cors(environ, start_response)(f"{answer.status} {reasons.get(answer.status, 'Unknown')}", headers)
        self._record(environ["REQUEST_METHOD"], route, claims, request_id, answer.status, started)
        if isinstance(answer.body, bytes):
            return [answer.body]
        return answer.body

    # --- who may pass ---

    def _admit(self, environ: Environ, route: Route, address: str, allowance: Headers) -> Claims | None:
        """Identity, limits, revocation, permission: in this order, so that guessing tokens is limited too."""
        if route.is_public:
            self._limits.admit(route.rate_class, address, None, allowance)
            return None
        try:
            scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
            if scheme.lower() != "bearer":
                raise InvalidToken
            claims = self._verifier.verify(token)
        except InvalidToken:
            self._limits.admit(route.rate_class, address, None, allowance)
            raise
        try:
            self._limits.admit(route.rate_class, address, claims, allowance)
        except InvalidToken:  # revoked, perhaps by this very request, whose answer got lost: the service tells
            if not (route.revokes_token and environ.get("HTTP_IDEMPOTENCY_KEY")):
                raise
        check_permission(route, claims)
        return claims

    def _address_of(self, environ: Environ) -> str:
        """The client's address: the last one a trusted proxy added, else the peer's."""
        if self._settings.trusted_proxy_hops:
            claimed = environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
            try:
                return str(ip_address(claimed))
            except ValueError:
                pass  # not from our proxy: the peer speaks for itself
        return str(environ["REMOTE_ADDR"])

    def _may_scrape(self, environ: Environ) -> bool:
        """Metrics are for who knows METRICS_TOKEN or, without one, for this machine; for others there are none."""
        expected = self._settings.metrics_token
        if expected:
            given = environ.get("HTTP_AUTHORIZATION", "").encode()
            return compare_digest(given, f"Bearer {expected}".encode())
        return ip_address(environ["REMOTE_ADDR"]).is_loopback and "HTTP_X_FORWARDED_FOR" not in environ

    # --- the service ---

    def _forward(self, environ: Environ, route: Route, target: str, address: str, request_id: str) -> Answer:
        method = environ["REQUEST_METHOD"]
        query = environ.get("QUERY_STRING")
        headers = self._headers(environ, address, request_id)
        repeatable = route.repeatable and (method in READS or bool(environ.get("HTTP_IDEMPOTENCY_KEY")))
        length = declared_length(environ, method, route.max_body or self._settings.max_content_length)
        body: bytes | Callable[[int], bytes | int] | None = None
        if length and route.stream:
            body = ArrivingBody(environ["wsgi.input"], length).read
        elif length:
            with self._lane.place(address):
                body = whole_body(environ["wsgi.input"], length)
        limit = self._settings.stream_timeout if route.stream else self._settings.request_timeout
        headers.append(f"X-Deadline: {int((time.time() + limit) * 1000)}")
        call = Call(
            service=route.service,
            method=method,
            target=f"{target}?{query}" if query else target,
            headers=headers,
            body=body,
            length=length,
            deadline=time.monotonic() + limit,
            repeatable=repeatable,
        )
        if route.stream:
            with self._lane.place(address):
                answer = self._upstreams.stream(call)
        else:
            answer = self._upstreams.send(call)
        if not isinstance(answer.body, bytes):
            answer.body = self._lane.lend(address, answer.body)
        return answer

    def _headers(self, environ: Environ, address: str, request_id: str) -> list[str]:
        names = self._names
        nominated = environ.get("HTTP_CONNECTION", "")
        dropped = {name.strip().lower() for name in nominated.split(",")} if nominated else ()
        try:
            lines = [
                header_line(name, value)
                for key, value in environ.items()
                if (name := names[key]) and value and name not in dropped
            ]
            content_type = environ.get("CONTENT_TYPE")
            if content_type:
                lines.append(header_line("content-type", content_type))
            host = environ.get("HTTP_HOST")
            if host:
                lines.append(header_line("x-forwarded-host", host))
        except ValueError as error:
            raise ValidationFailed(details=[{"field": str(error), "issue": "characters"}]) from error
        lines += [
            f"X-Request-ID: {request_id}",
            f"X-Forwarded-For: {address}",
            f"X-Forwarded-Proto: {environ['wsgi.url_scheme']}",
            *_NOT_LIBCURLS,
        ]
        return lines

    # --- the answer ---

    def _preflight(self, environ: Environ, path: str) -> Answer:
        methods = ", ".join(self._routes.methods(path))
        headers: Headers = [("Allow", methods)]
        if environ.get("HTTP_ORIGIN") in self._origins:
            headers += [
                ("Access-Control-Allow-Methods", methods),
                ("Access-Control-Allow-Headers", _CORS_REQUEST_HEADERS),
                ("Access-Control-Max-Age", "600"),
            ]
        return Answer(204, headers, b"", None)

    def _with_cors(self, environ: Environ, start_response: StartResponse) -> StartResponse:
        """`start_response` that lets an allowed origin read the answer."""
        if not self._origins:
            return start_response

        def start(status: str, headers: Headers, *arguments: Any) -> Any:
            headers = [*headers, ("Vary", "Origin")]
            origin = environ.get("HTTP_ORIGIN")
            if origin in self._origins:
                headers += [
                    ("Access-Control-Allow-Origin", origin),
                    ("Access-Control-Expose-Headers", _CORS_ANSWER_HEADERS),
                ]
            return start_response(status, headers, *arguments)

        return start

    def _record(
        self, method: str, route: Route | None, claims: Claims | None, request_id: str, status: int, started: float
    ) -> None:
        seconds = time.perf_counter() - started
        service, method, path = (route.service, method, route.path) if route else ("none", "any", "unmatched")
        meters = self._meters.get((service, method, path, status))
        if meters is None:
            meters = _REQUESTS.labels(service, method, path, str(status)), _SECONDS.labels(service, method, path)
            self._meters[service, method, path, status] = meters
        meters[0].inc()
        meters[1].observe(seconds)
        if self._logs_requests:
            user_id = claims.subject if claims else None
            write_line(request_id, user_id, method, path, status, round(seconds * 1000, 2))


def _render(error: ApiError, environ: Environ, request_id: str) -> Answer:
    accept, language = environ.get("HTTP_ACCEPT", ""), environ.get("HTTP_ACCEPT_LANGUAGE", "")
    status, headers, body = render_error(error, accept, language, request_id)
    length = len(body)
    headers += [
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Vary", "Accept, Accept-Language"),
    ]
    return Answer(status, headers, b"" if environ["REQUEST_METHOD"] == "HEAD" else body, length)
