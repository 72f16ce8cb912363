"""What happens around every request of a service: id, log line, sizes, headers, and errors in the contract's form."""

from __future__ import annotations

import re
import time
from random import getrandbits

import structlog
from flask import Flask, Response, g, request
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from common import responses
from common.database import is_outage
from common.errors import BY_STATUS, ApiError, Conflict, InternalError, PreconditionFailed, Unavailable
from common.observability import REQUEST_BYTES, RESPONSE_BYTES

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")
# W3C Trace Context, section 3.2.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_UNIX_MS = re.compile(r"[0-9]{1,16}")
_QUIET = frozenset({"/health", "/ready", "/metrics"})


def clean_request_id(value: str | None) -> str:
    """The client's request id when it is 8..128 of `[A-Za-z0-9._-]`, else a new UUID."""
    return value if value and _REQUEST_ID.fullmatch(value) else _new_request_id()


def _new_request_id() -> str:
    """A UUID of version 4 that is unique, not secret: without a system call, which the gateway would feel."""
    digits = f"{getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def install(app: Flask) -> None:
    """Put the hooks around every request of `app`."""
    app.before_request(_begin)
    app.after_request(_finish)
    app.register_error_handler(Exception, _answer_error)


def _begin() -> None:
    g.started = time.perf_counter()
    g.request_id = clean_request_id(request.headers.get("X-Request-ID"))
    trace = request.headers.get("traceparent", "")
    g.traceparent = trace if _TRACEPARENT.fullmatch(trace) else ""
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    deadline = request.headers.get("X-Deadline", "")
    if _UNIX_MS.fullmatch(deadline) and int(deadline) < time.time() * 1000:
        raise Unavailable  # the gateway has already given up on this answer


def _route() -> str:
    return request.url_rule.rule if request.url_rule else "unmatched"


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")
    response.vary.update(("Accept", "Accept-Language"))
    route = _route()
    if route not in _QUIET:
        REQUEST_BYTES.labels(route).observe(request.content_length or 0)
        RESPONSE_BYTES.labels(route).observe(response.content_length or 0)
        caller = g.get("caller")
        log.info(
            "request",
            user_id=caller.subject if caller else None,
            method=request.method,
            path=route,
            status=response.status_code,
            latency_ms=round((time.perf_counter() - g.started) * 1000, 2),
        )
    return response


def _answer_error(error: Exception) -> Response:
    known = _translate(error)
    if known.status >= 500 and not isinstance(error, ApiError):
        if isinstance(known, Unavailable):
            log.warning("request.dependency_away", reason=type(error).__name__)
        else:
            log.exception("request.failed")
    status, headers, body = responses.render_error(
        known, request.headers.get("Accept", ""), request.headers.get("Accept-Language", ""), g.request_id
    )
    return Response(body, status, headers)


# PostgreSQL: 23505 unique, 23P01 exclusion; 22 is data the column cannot hold, which validation should have caught.
_CONFLICTS = frozenset({"23505", "23P01", "23503"})
_IDLE_IN_TRANSACTION = "25P03"  # the transaction stood still too long: the request, not the work, is to be repeated


def _translate(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, HTTPException):
        kind = BY_STATUS.get(error.code or 500, InternalError)
        headers = {"Allow": ", ".join(sorted(error.valid_methods or ()))} if hasattr(error, "valid_methods") else {}
        return kind(headers=headers)
    if isinstance(error, StaleDataError):
        return PreconditionFailed() if "If-Match" in request.headers else Conflict()
    if isinstance(error, IntegrityError) and getattr(error.orig, "pgcode", None) in _CONFLICTS:
        return Conflict()
    if isinstance(error, PoolTimeout):
        return Unavailable()
    if isinstance(error, DBAPIError):
        idle = getattr(error.orig, "pgcode", None) == _IDLE_IN_TRANSACTION
        if idle or is_outage(error):
            return Unavailable()
    return InternalError()
