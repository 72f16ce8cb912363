"""The one way of every request through a service: authenticate, authorise, parse, call in a transaction, render."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Any
from uuid import UUID

from flask import Response, current_app, g, request
from marshmallow import ValidationError

from common import conditional, idempotency, responses, serialization
from common.api import Endpoint, PageOf, Raw, Redirect, Tenancy, names_of
from common.auth import ANONYMOUS, Caller
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
from common.permissions import INTERNAL, PUBLIC, Permission
from common.tokens import AUDIENCE, INTERNAL_AUDIENCE


def handler_of(endpoint: Endpoint, resource: Endpoint | None) -> Callable[..., Response]:
    """The Flask view of an endpoint.

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
        available = _gather(endpoint, changed, caller, path)
        service = current_app.extensions["heartguard"]
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


def _gather(endpoint: Endpoint, changed: Endpoint | None, caller: Caller, path: dict[str, Any]) -> dict[str, Any]:
    """What a view may ask for by name, all but the session; `changed` is the GET of what it changes."""
    available: dict[str, Any] = {"caller": caller, **path}
    if endpoint.query_schema is not None:
        available["query"] = _load(endpoint.query_schema, _query(endpoint.query_schema))
    if endpoint.body_schema is not None:
        available["body"] = _load(endpoint.body_schema, _body(endpoint))
    resources = current_app.extensions["heartguard"].resources
    if endpoint.care:
        available["caller"] = caller = resources["care"].of(caller)
    wanted = endpoint.wants | (changed.wants if changed else frozenset()) | endpoint.prepares_with
    available |= {name: resources[name] for name in wanted if name in resources}
    if changed is not None:
        available["precondition"] = _precondition(endpoint, changed, caller)
    elif endpoint.method != "GET" and "If-Match" in request.headers:
        raise PreconditionFailed  # nothing is read at this path, so no tag can match
    return available


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


def _call(function: Callable[..., Any], available: dict[str, Any]) -> Any:
    return function(**{name: available[name] for name in names_of(function)})


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
