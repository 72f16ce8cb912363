"""OpenAPI 3.1 of declared endpoints: every answer, errors included, in JSON and XML, each with an example."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema
from marshmallow import fields as ma

from common import conditional, openapi_components, responses, serialization
from common.api import Endpoint, PageOf, Raw, Tenancy
from common.config import package_of
from common.errors import ApiError
from common.examples import example_id, example_of, example_text
from common.permissions import Door, Permission
from common.serialization import JSON, XML

_LANGUAGE = "es"
_REQUEST_ID = "4f1c2a9e-7b30-4d5e-a8c1-90f2e3d4b5a6"
_ERROR_FORMATS = {JSON: "Error", XML: "Error", responses.PROBLEM_JSON: "Problem", responses.PROBLEM_XML: "Problem"}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
# What can happen to any request on its way, whatever the endpoint does: 400 is for what is no HTTP.
_ALWAYS = frozenset({400, 406, 429, 500, 502, 503, 504})


def document(
    title: str,
    description: str,
    endpoints: Mapping[str, list[Endpoint]],
    tags: Mapping[str, str],
    errors: Iterable[type[ApiError]],
) -> dict[str, Any]:
    """The document of `endpoints` by service; `tags` describe the services, `errors` are all that exist."""
    spec = _empty(component_name, title, {"description": description})
    for name, text in tags.items():
        spec.tag({"name": name, "description": text})
    for name, component in openapi_components.SCHEMAS.items():
        spec.components.schema(name, component)
    spec.components.security_scheme("token", openapi_components.TOKEN)
    for name, parameter in openapi_components.PARAMETERS.items():
        spec.components.parameter(name, parameter["in"], parameter)
    for name, header in openapi_components.HEADERS.items():
        spec.components.header(name, header)
    packages = {"common", *map(package_of, endpoints)}
    every: list[type[ApiError]] = [*errors, ApiError]
    chosen = {error.id: error for error in every if _package(error) in packages}
    known = [error for _, error in sorted(chosen.items())]
    for service, items in endpoints.items():
        by_status: dict[int, list[type[ApiError]]] = {}
        for error in known:
            if _package(error) in ("common", package_of(service)):
                by_status.setdefault(error.status, []).append(error)
        for status, group in by_status.items():
            spec.components.response(f"{service}.{status}", _failure(status, group))
        own = {error.status for error in known if _package(error) == package_of(service)}
        read = {endpoint.path for endpoint in items if endpoint.reads_one}
        for endpoint in items:
            statuses = (_statuses(endpoint) | (own if endpoint.method != "GET" else set())) & set(by_status)
            operation = _operation(service, endpoint, statuses)
            if endpoint.reads_one:
                operation["parameters"].append("If-None-Match")
                operation["responses"]["304"] = {"description": HTTPStatus(304).phrase, "headers": {"ETag": "ETag"}}
            elif endpoint.path in read and endpoint.method in conditional.CHANGES:
                operation["parameters"].append("If-Match")
            resource = conditional.find_resource(endpoint, items)
            if resource is not None and endpoint.returns is resource.returns:
                operation["responses"][str(endpoint.status)]["headers"]["ETag"] = "ETag"
            spec.path(path=endpoint.path, operations={endpoint.method.lower(): operation})
    for error in known:
        for media_type in _ERROR_FORMATS:
            spec.components.example(_example_name(error, media_type), {"value": _error_example(error, media_type)})
    return spec.to_dict()


def _empty(name: Callable[[Any], str], title: str = "", info: dict[str, str] | None = None) -> APISpec:
    plugin = MarshmallowPlugin(schema_name_resolver=name)
    spec = APISpec(title, "1", "3.1.0", plugins=[plugin], info=info or {})
    assert plugin.converter is not None
    plugin.converter.add_attribute_function(_describe)  # type: ignore[no-untyped-call]
    return spec


def component_name(schema: Any) -> str:
    """`patient.PatientOut`: several services may have a schema of one name."""
    kind = schema if isinstance(schema, type) else type(schema)
    return f"{_package(kind).removesuffix('_service')}.{kind.__name__}"


def _package(kind: type) -> str:
    return kind.__module__.split(".")[0]


def _describe(self: Any, field: ma.Field[Any], ret: dict[str, Any], **_options: Any) -> dict[str, Any]:
    described: dict[str, Any] = {}
    pattern = getattr(field, "pattern", None)
    if isinstance(field, ma.String) and pattern:
        described["pattern"] = pattern.replace(r"\Z", "$")  # JSON Schema speaks ECMAScript's expressions
    if type(field.root).__name__.endswith("Out"):
        ret.pop("minLength", None)  # what must not be empty coming in may be so going out
    if "default" in ret and ret["default"] is None and "null" not in ret.get("type", ()):
        ret.pop("default")  # an absent parameter is not a null one
    return described


# --- operations ----------------------------------------------------------------------------------------------------


def _operation(service: str, endpoint: Endpoint, statuses: Iterable[int]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{service}_{endpoint.name}",
        "tags": [service],
        "summary": endpoint.summary,
        "description": _description(endpoint),
        "x-permission": str(endpoint.permission),
        "security": [] if endpoint.permission is Door.PUBLIC else [{"token": []}],
        "parameters": [*_path_parameters(endpoint), *_shared_parameters(endpoint)],
        "responses": {str(endpoint.status): _success(endpoint)}
        | {str(status): f"{service}.{status}" for status in sorted(statuses)},
    }
    if endpoint.query:
        operation["parameters"].append({"in": "query", "schema": endpoint.query})
    if endpoint.body and endpoint.body_schema is not None:
        example = example_of(endpoint.body_schema, incoming=True)
        operation["requestBody"] = {
            "required": True,
            "content": {
                JSON: {"schema": endpoint.body, "example": example},
                XML: {"schema": endpoint.body, "example": serialization.render_xml(example, "request").decode()},
            },
        }
    return operation


def _description(endpoint: Endpoint) -> str:
    text = (inspect.getdoc(endpoint.view) or "").partition("\n")[2].strip()
    needs = {
        Door.PUBLIC: "Open to everybody.",
        Door.AUTHENTICATED: "For whoever is logged in.",
        Door.INTERNAL: "For other services only.",
    }
    permission = endpoint.permission
    door = f"Needs the permission `{permission}`." if isinstance(permission, Permission) else needs[permission]
    return f"{text}\n\n{door}" if text else door


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {
            "in": "path",
            "name": name,
            "required": True,
            "schema": {"type": "string"} | ({"format": "uuid"} if kind == "uuid" else {}),
            "example": example_id(name) if kind == "uuid" else example_text(name),
        }
        for name, kind in endpoint.parameters.items()
    ]


def _shared_parameters(endpoint: Endpoint) -> list[str]:
    chosen = []
    if isinstance(endpoint.permission, Permission) and endpoint.tenancy is not Tenancy.ALL:
        chosen.append("org_id")
    if endpoint.keeps_answer:
        chosen.append("Idempotency-Key")
    return chosen


def _statuses(endpoint: Endpoint) -> set[int]:
    """The errors that its declaration makes possible."""
    found = set(_ALWAYS)
    if endpoint.permission is not Door.PUBLIC:
        found |= {401, 403}
    if endpoint.parameters or "org_id" in _shared_parameters(endpoint):
        found.add(404)
    if endpoint.method != "GET":
        found |= {404, 409, 413}
    if endpoint.body:
        found.add(415)
    if endpoint.method in conditional.CHANGES:
        found.add(412)
    return found


def _success(endpoint: Endpoint) -> dict[str, Any]:
    headers = {"X-Request-ID": "X-Request-ID"}
    schema = endpoint.item_schema
    if schema is None:
        return {"description": HTTPStatus(endpoint.status).phrase, "headers": headers, **_document_of(endpoint)}
    if endpoint.status == 201:
        headers["Location"] = "Location"
    return {"description": HTTPStatus(endpoint.status).phrase, "headers": headers, "content": success_content(endpoint)}


def _document_of(endpoint: Endpoint) -> dict[str, Any]:
    return {"content": {"*/*": {}}} if endpoint.returns is Raw else {}


def success_content(endpoint: Endpoint) -> dict[str, Any]:
    """The envelope of an endpoint's answer in both formats."""
    schema = endpoint.item_schema
    assert schema is not None
    paged = isinstance(endpoint.returns, PageOf)
    item = example_of(schema, incoming=False)
    example: dict[str, Any] = {"status": "success", "data": [item] if paged else item}
    data: Any = {"type": "array", "items": type(schema), "xml": {"wrapped": True}} if paged else type(schema)
    properties: dict[str, Any] = {"status": {"const": "success"}, "data": data}
    if paged:
        properties["meta"] = "Meta"
        example["meta"] = {"limit": 50, "next_cursor": None}
    envelope = {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "xml": {"name": "response"},
    }
    return {
        JSON: {"schema": envelope, "example": example},
        XML: {"schema": envelope, "example": serialization.render_xml(example).decode()},
    }


# --- errors --------------------------------------------------------------------------------------------------------


def _failure(status: int, errors: list[type[ApiError]]) -> dict[str, Any]:
    headers = {"X-Request-ID": "X-Request-ID"} | ({"Retry-After": "Retry-After"} if status in (429, 503) else {})
    return {
        "description": "; ".join(f"`{error.id}` {error.messages['en']}" for error in errors),
        "headers": headers,
        "content": {
            media_type: {"schema": schema, "examples": {e.id: _example_name(e, media_type) for e in errors}}
            for media_type, schema in _ERROR_FORMATS.items()
        },
    }


def _example_name(error: type[ApiError], media_type: str) -> str:
    return f"{error.id}.{media_type.removeprefix('application/').replace('+', '.')}"


def _error_example(kind: type[ApiError], media_type: str) -> Any:
    given: dict[str, Any] = {name: example_text(name) for name in _PLACEHOLDER.findall("".join(kind.messages.values()))}
    if "retry_after" in inspect.signature(kind).parameters:
        given["retry_after"] = 60
    error = kind(**given)
    if kind.id == "HG-VAL-001":
        error.details = [{"field": "email", "issue": "format"}]
    body = responses.render_error(error, media_type, _LANGUAGE, _REQUEST_ID)[2]
    return body.decode() if media_type.endswith("xml") else serialization.parse_json(body)


def schema_of(schema: Schema) -> dict[str, Any]:
    """The JSON Schemas of one wire schema and those inside it, by name."""
    spec = _empty(_bare_name)
    spec.components.schema(_bare_name(schema), schema=schema)
    found: dict[str, Any] = spec.to_dict()["components"]["schemas"]
    return found


def _bare_name(schema: Any) -> str:
    return (schema if isinstance(schema, type) else type(schema)).__name__
