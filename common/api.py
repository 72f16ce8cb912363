"""How an endpoint is declared, and the one way of every request through a service.

    api = Api("patients")

    @api.post("/patients", permission=P.PATIENT_WRITE, body=PatientIn, returns=PatientOut, creates="/patients/{id}")
    def register_patient(session, caller, body):
        "Register a patient in the caller's organisation."
        return actions.register_patient(session, caller, **body)

A view names what it wants: `session`, `caller`, `body`, `query`, its path parameters, and the service's resources.
What must come before the transaction, because it takes long (a hash) or asks elsewhere, is another function of this
kind, `prepare=`; what it returns is the view's `prepared`. A view whose refusal leaves a trace returns the error.

A POST has one effect under one Idempotency-Key: it takes the `session` of its transaction, in which the key is kept.
Any other is declared `reads=True` (it changes nothing) or `repeatable=True` (twice is once, without any key).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache, cached_property, partial
from ipaddress import ip_address
from typing import Any
from uuid import UUID

from flask import Response, current_app, g, request
from marshmallow import ValidationError

from common import conditional, idempotency, responses, serialization
from common.auth import ANONYMOUS, AUDIENCE, INTERNAL_AUDIENCE, Caller
from common.config import Settings
from common.database import ALL_ORGANIZATIONS, Database, Scope
from common.errors import (
    ApiError,
    Forbidden,
    InvalidToken,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
    SecondFactorDemanded,
    UnparsableBody,
    UnsupportedMediaType,
    ValidationFailed,
)
from common.fields import Schema, problems_of
from common.pagination import Page
from common.permissions import INTERNAL, PUBLIC, Door, Permission


class Tenancy(StrEnum):
    """Whose rows an endpoint works on."""

    ORGANIZATION = "organization"
    """The caller's organisation, which a superadmin names with `?org_id=`."""
    ALL = "all"
    """Every organisation: catalogues, login. Each use is listed in tests/architecture."""
    ORGANIZATION_OR_ALL = "organization_or_all"
    """The caller's organisation; for a superadmin who names none, every one."""


@dataclass(frozen=True)
class PageOf:
    """A list answer: items of one schema, and `meta`."""

    item: type[Schema]


def page_of(item: type[Schema]) -> PageOf:
    """Declare that an endpoint returns one page of `item`."""
    return PageOf(item)


@dataclass(frozen=True)
class Raw:
    """An answer that is not data but a document: its body, type, and optional headers."""

    body: bytes
    content_type: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Redirect:
    """An answer that sends the client to another address, this once (302)."""

    location: str


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One declaration: where, who may, what goes in and out."""

    method: str
    path: str
    view: Callable[..., Any]
    permission: Permission | Door
    rate_class: str
    body: type[Schema] | None = None
    query: type[Schema] | None = None
    returns: type[Schema] | PageOf | type[Raw] | type[Redirect] | None = None
    creates: str | None = None
    tenancy: Tenancy = Tenancy.ORGANIZATION
    max_body: int | None = None
    stream: bool = False
    """The gateway passes bodies on as they come, and waits as long as a transfer may take."""
    proxied: bool = True
    """False where the service answers itself but the gateway does not let through."""
    prepare: Callable[..., Any] | None = None
    """What must come before the transaction; not called for an answer that is known already."""
    enrolment: bool = False
    """Open to whoever still owes their organisation a second factor."""
    reads: bool = False
    """A POST that changes nothing: its body asks."""
    care: bool = False
    """The view needs to know whom the caller may see: `caller.patients`."""
    repeatable: bool = False
    """Doing it twice is doing it once, without any key."""
    revokes_token: bool = False
    """The first attempt ends the token that it came with, which still gets the kept answer."""

    def __post_init__(self) -> None:
        """Raise TypeError for a POST that could have two effects under one key."""
        if self.method == "POST" and not (self.reads or self.repeatable) and "session" not in self.wants:
            raise TypeError(f"{self.name}: take `session` (and `prepare=`), or declare `reads` or `repeatable`")

    @property
    def keeps_answer(self) -> bool:
        """True where an Idempotency-Key is honoured, in the transaction of the effect."""
        return self.method == "POST" and not (self.reads or self.repeatable)

    @property
    def may_be_repeated(self) -> bool:
        """True where the gateway may send a request again whose answer got lost (a POST only with its key)."""
        return self.method in ("GET", "POST")

    @property
    def reads_one(self) -> bool:
        """True where one resource is read, which has an ETag. What a query chooses is an answer, not a resource."""
        one = self.item_schema is not None and not isinstance(self.returns, PageOf)
        return self.method == "GET" and one and self.query is None

    @property
    def name(self) -> str:
        """The view's name: unique in a service."""
        return self.view.__name__

    @property
    def summary(self) -> str:
        """The first line of the view's docstring."""
        return (inspect.getdoc(self.view) or "").partition("\n")[0]

    @property
    def rule(self) -> str:
        """The path as Werkzeug writes it: `{x_id}` is a UUID, any other parameter a text."""
        return re.sub(r"\{(\w+)\}", lambda m: f"<{self.parameters[m[1]]}:{m[1]}>", self.path)

    @property
    def parameters(self) -> dict[str, str]:
        """The path's parameters and their types, `uuid` or `string`."""
        names = re.findall(r"\{(\w+)\}", self.path)
        return {name: "uuid" if name.endswith("_id") else "string" for name in names}

    @cached_property
    def status(self) -> int:
        """The status of success."""
        if self.creates is not None:
            return 201
        if self.returns is Redirect:
            return 302
        return 204 if self.returns is None else 200

    @cached_property
    def body_schema(self) -> Schema | None:
        """The body's schema, made once."""
        return self.body() if self.body else None

    @cached_property
    def query_schema(self) -> Schema | None:
        """The query's schema, made once."""
        return self.query() if self.query else None

    @cached_property
    def item_schema(self) -> Schema | None:
        """The schema of the answer or of its items, made once."""
        if isinstance(self.returns, PageOf):
            return self.returns.item()
        return self.returns() if isinstance(self.returns, type) and issubclass(self.returns, Schema) else None

    @cached_property
    def prepares_with(self) -> frozenset[str]:
        """The names of the parameters of `prepare`."""
        return _names_of(self.prepare)

    @cached_property
    def wants(self) -> frozenset[str]:
        """The names of the view's parameters."""
        return _names_of(self.view)


class Api:
    """A group of endpoints, collected by the factory."""

    def __init__(self, name: str, *, care: bool = False) -> None:
        self.name, self.care = name, care
        self.endpoints: list[Endpoint] = []

    def _declare(
        self, method: str, path: str, *, permission: Permission | Door, **declaration: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        if not isinstance(permission, Permission | Door):
            raise TypeError(f"{method} {path}: permission must be a Permission, PUBLIC, AUTHENTICATED or INTERNAL")
        declaration.setdefault("rate_class", "read" if method == "GET" else "write")
        declaration.setdefault("care", self.care)

        def declare(view: Callable[..., Any]) -> Callable[..., Any]:
            if not view.__doc__:
                raise TypeError(f"{view.__name__}: the docstring is the operation's summary; write one")
            self.endpoints.append(Endpoint(method=method, path=path, view=view, permission=permission, **declaration))
            return view

        return declare

    def get(self, path: str, **declaration: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a read."""
        return self._declare("GET", path, **declaration)

    def post(self, path: str, **declaration: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a creation (`creates=` its path) or a command."""
        return self._declare("POST", path, **declaration)

    def put(self, path: str, **declaration: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a replacement."""
        return self._declare("PUT", path, **declaration)

    def patch(self, path: str, **declaration: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a partial change."""
        return self._declare("PATCH", path, **declaration)

    def delete(self, path: str, **declaration: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a removal."""
        return self._declare("DELETE", path, **declaration)


# --- the way of a request ------------------------------------------------------------------------------------------


def handler_of(endpoint: Endpoint, resource: Endpoint | None) -> Callable[..., Response]:
    """The Flask view of an endpoint: authenticate, authorise, parse, call in a transaction, render.

    `resource` is the GET of what it reads, changes or creates. A change that opens its transactions itself must ask
    for `precondition` and call it there; TypeError at start when it does not.
    """
    changed = resource if endpoint.method in conditional.CHANGES else None
    itself = "session" not in endpoint.wants
    if changed is not None and itself and "precondition" not in endpoint.wants:
        raise TypeError(f"{endpoint.name}: call `precondition` in the transaction of the change")
    tagged = resource is not None and endpoint.returns is resource.returns

    def handle(**path: Any) -> Response:
        g.endpoint = endpoint
        media_type = serialization.JSON
        if endpoint.returns is not Raw:  # a document has its own type, whatever the browser's <img> asks for
            media_type = responses.negotiate(request.headers.get("Accept", ""))
        caller = _authorise(endpoint)
        available: dict[str, Any] = {"caller": caller, **path}
        if endpoint.query_schema is not None:
            available["query"] = _load(endpoint.query_schema, _query(endpoint.query_schema))
        if endpoint.body_schema is not None:
            available["body"] = _load(endpoint.body_schema, _body(endpoint))
        service = current_app.extensions["heartguard"]
        if endpoint.care:
            available["caller"] = caller = service.resources["care"].of(caller)
        wanted = endpoint.wants | (changed.wants if changed else frozenset()) | endpoint.prepares_with
        available |= {name: service.resources[name] for name in wanted if name in service.resources}
        if changed is not None:
            available["precondition"] = _precondition(endpoint, changed, caller)
        elif endpoint.method != "GET" and "If-Match" in request.headers:
            raise PreconditionFailed  # nothing is read at this path, so no tag can match
        if itself:
            return _respond(endpoint, _call(endpoint.view, available), media_type, tagged)
        attempt = None
        if endpoint.keeps_answer and idempotency.HEADER in request.headers:
            attempt = idempotency.Attempt(service.keeper, caller, request, g.get("raw_body", b""))
        if attempt is not None and (endpoint.prepare or g.revoked):
            kept = _find_kept(service.database, attempt)
            if kept is not None:
                return kept
        if g.revoked:
            raise InvalidToken
        if endpoint.prepare is not None:
            available["onward_key"] = attempt and attempt.onward_key
            try:
                available["prepared"] = _call(endpoint.prepare, available)
            except ApiError:  # refused because another attempt has just done it?
                kept = _find_kept(service.database, attempt) if attempt is not None else None
                if kept is None:
                    raise
                return kept
        with service.database.transaction(_reach(endpoint, caller)) as session:
            kept = attempt.claim(session) if attempt is not None else None
            if kept is not None:
                return kept
            available["session"] = session
            if changed is not None:
                available["precondition"](session, partial(_call, changed.view, available))
            result = _call(endpoint.view, available)
            if not isinstance(result, ApiError):
                answer = _respond(endpoint, result, media_type, tagged)
                if attempt is not None:
                    attempt.keep(session, answer)
            elif attempt is not None:
                attempt.withdraw(session)
        if isinstance(result, ApiError):
            raise result
        return answer

    handle.__name__ = endpoint.name
    return handle


def _find_kept(database: Database, attempt: idempotency.Attempt) -> Response | None:
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        return attempt.find(session)


def _precondition(endpoint: Endpoint, resource: Endpoint, caller: Caller) -> conditional.Precondition:
    assert resource.item_schema is not None
    own = "" if endpoint.parameters else caller.subject  # `/preferences` is another resource for everybody
    lock_name = endpoint.path.format(**(request.view_args or {})) + own
    return conditional.Precondition(request.headers.get("If-Match"), lock_name, resource.item_schema)


def _reach(endpoint: Endpoint, caller: Caller) -> UUID | Scope | None:
    """Whose rows the transaction sees."""
    superadmins = endpoint.tenancy is Tenancy.ORGANIZATION_OR_ALL and caller.is_superadmin and caller.org_id is None
    return ALL_ORGANIZATIONS if superadmins or endpoint.tenancy is Tenancy.ALL else caller.org_id


@cache
def _names_of(function: Callable[..., Any] | None) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters) if function is not None else frozenset()


def _call(function: Callable[..., Any], available: dict[str, Any]) -> Any:
    return function(**{name: available[name] for name in _names_of(function)})


def _authorise(endpoint: Endpoint) -> Caller:
    caller = _authenticate(endpoint)
    g.caller = caller
    if caller.may_only_enrol and not endpoint.enrolment:
        raise SecondFactorDemanded
    if isinstance(endpoint.permission, Permission) and endpoint.permission not in caller.permissions:
        raise Forbidden
    if endpoint.permission is INTERNAL and not caller.is_service:
        raise Forbidden
    named = request.args.get("org_id")
    if named is not None:
        caller = _name_organization(caller, named)
    if isinstance(endpoint.permission, Permission) and _reach(endpoint, caller) is None:
        raise ValidationFailed(details=[{"field": "org_id", "issue": "required"}])
    g.caller = caller
    return caller


def _authenticate(endpoint: Endpoint) -> Caller:
    service = current_app.extensions["heartguard"]
    g.revoked = False
    origin = {
        "request_id": g.request_id,
        "traceparent": g.traceparent,
        "ip": _client_address(service.settings),
        "user_agent": (request.user_agent.string or None) and request.user_agent.string[:200],
    }
    header = request.headers.get("Authorization", "")
    scheme, _, token = header.partition(" ")
    if endpoint.permission is PUBLIC:
        return Caller(subject=ANONYMOUS, **origin)
    if scheme.lower() != "bearer" or not token:
        raise InvalidToken
    if endpoint.permission is INTERNAL:
        claims = service.verifier.verify(token, INTERNAL_AUDIENCE)
    else:
        claims = service.verifier.verify_any(token)
    g.revoked = claims.audience == AUDIENCE and service.revocations.is_revoked(claims)
    if g.revoked and not endpoint.revokes_token:
        raise InvalidToken
    return Caller(
        subject=claims.subject,
        org_id=claims.org_id,
        roles=claims.roles,
        permissions=claims.permissions,
        session_id=claims.session_id,
        token_id=claims.token_id,
        is_service=claims.audience == INTERNAL_AUDIENCE,
        scope=claims.scope,
        **origin,
    )


def _client_address(settings: Settings) -> str | None:
    """The one address in a trusted peer's `X-Forwarded-For`, else the peer's own."""
    peer = request.remote_addr
    claimed = request.headers.get("X-Forwarded-For", "")
    try:
        if peer and settings.trusts(peer) and "%" not in claimed:  # an IPv6 zone may be any text of any length
            return str(ip_address(claimed))
    except ValueError:
        pass  # not one address: the peer speaks for itself
    return peer


def _name_organization(caller: Caller, named: str) -> Caller:
    try:
        org_id = UUID(named)
    except ValueError as error:
        raise ValidationFailed(details=[{"field": "org_id", "issue": "format"}]) from error
    if org_id != caller.org_id and not caller.is_superadmin:
        raise NotFound
    return replace(caller, org_id=org_id)


def _query(schema: Schema) -> Any:
    values = {key: items if len(items) > 1 else items[0] for key, items in request.args.lists() if key != "org_id"}
    return serialization.shape_object(schema, values)


def _body(endpoint: Endpoint) -> Any:
    assert endpoint.body_schema is not None
    raw = g.raw_body = read_body(endpoint.max_body or current_app.config["MAX_CONTENT_LENGTH"])
    kind = request.mimetype
    if kind == serialization.JSON:
        return serialization.parse_json(raw)
    if kind in (serialization.XML, "text/xml"):
        return serialization.parse_xml(raw, endpoint.body_schema)
    if not raw:
        return {}
    raise UnsupportedMediaType


def read_body(limit: int) -> bytes:
    """The request's body; raises PayloadTooLarge over `limit`, or without a declared length.

    Werkzeug cuts a chunked body at the limit and answers 200 (RULES), so a body must declare its length.
    """
    if "Transfer-Encoding" in request.headers or (request.content_length or 0) > limit:
        raise PayloadTooLarge
    request.max_content_length = limit  # Flask's own limit is the smallest endpoint's
    raw = request.stream.read(request.content_length or 0)
    if len(raw) != (request.content_length or 0):
        raise UnparsableBody
    return raw


def _load(schema: Schema, document: Any) -> Any:
    try:
        return schema.load(document)
    except ValidationError as error:
        raise ValidationFailed(details=problems_of(error.messages)[:100]) from error


def _respond(endpoint: Endpoint, result: Any, media_type: str, tagged: bool) -> Response:
    headers: dict[str, str] = {}
    if isinstance(result, Raw):
        return Response(result.body, 200, {"Content-Type": result.content_type, **result.headers})
    if isinstance(result, Redirect):
        return Response(status=endpoint.status, headers={"Location": result.location})
    if endpoint.returns is None:
        return Response(status=204)
    schema, meta = endpoint.item_schema, None
    assert schema is not None
    if isinstance(endpoint.returns, PageOf):
        page = result if isinstance(result, Page) else Page(result)
        data = schema.dump(page.items, many=True)
        meta = {"limit": page.limit, "next_cursor": page.next_cursor}
    else:
        data = schema.dump(result)
    if endpoint.creates is not None:
        headers["Location"] = endpoint.creates.format(**{**(request.view_args or {}), **data})
    body = responses.render_success(data, media_type, meta)
    if tagged:
        headers["ETag"] = conditional.tag_of(data, body, media_type)
        if endpoint.method == "GET" and conditional.is_known(headers["ETag"], request.headers.get("If-None-Match", "")):
            return Response(status=304, headers=headers)
    headers["Content-Type"] = f"{media_type}; charset=utf-8"
    return Response(body, endpoint.status, headers)
