"""Generates the published contracts from the services' declarations; a development tool, run before a commit.

`python -m common.contracts` writes `schemas/`, `gateway/routes.json`, `gateway/openapi.json` and
`common/topology.json`; `--check` writes nothing and fails when stale.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import marshmallow
import msgspec
from marshmallow import fields as ma
from marshmallow import validate

from common import messaging, openapi
from common.api import Api, Endpoint
from common.config import ROOT, SERVICES, package_of
from common.errors import ApiError
from common.events import AuditLog, Event
from common.fields import Schema
from common.permissions import Door

SCHEMAS = ROOT / "schemas"
ROUTES = ROOT / "gateway" / "routes.json"
OPENAPI = ROOT / "gateway" / "openapi.json"


def built_services() -> list[str]:
    """The services whose routes exist."""
    return [name for name in SERVICES if (ROOT / package_of(name) / "routes.py").exists()]


def apis_of(service: str) -> list[Api]:
    """The endpoint groups of a service: every `Api` in `routes.py`, or in `<group>_routes.py` where it was split."""
    package = package_of(service)
    names = [path.stem for path in sorted((ROOT / package).glob("*routes.py"))]
    modules = [importlib.import_module(f"{package}.{name}") for name in names]
    return [item for module in modules for item in vars(module).values() if isinstance(item, Api)]


def endpoints_of(service: str) -> list[Endpoint]:
    """Every endpoint of a service, in the order of path and method."""
    endpoints = [endpoint for api in apis_of(service) for endpoint in api.endpoints]
    return sorted(endpoints, key=lambda endpoint: (endpoint.path, endpoint.method))


def events_of(service: str) -> list[type[Event]]:
    """Every event that a service publishes."""
    path = ROOT / package_of(service) / "events.py"
    if not path.exists():
        return []
    module = importlib.import_module(f"{package_of(service)}.events")
    return [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, Event) and item.__module__ == module.__name__
    ]


# --- the gateway's route and permission table ----------------------------------------------------------------------


def route_table() -> list[dict[str, Any]]:
    """What the gateway lets pass: everything declared, save what is marked `proxied=False`, and nothing else."""
    return [
        {
            "service": service,
            "method": endpoint.method,
            "path": endpoint.path,
            "permission": str(endpoint.permission),
            "rate_class": endpoint.rate_class,
            "max_body": endpoint.max_body,
            "revokes_token": endpoint.revokes_token,
            "stream": endpoint.stream,
            "repeatable": endpoint.may_be_repeated,
            "types": endpoint.parameters,
        }
        for service in built_services()
        for endpoint in endpoints_of(service)
        if endpoint.proxied
    ]


def topology() -> list[dict[str, str]]:
    """The bindings of every consumer of the suite."""
    for service in SERVICES:
        if (ROOT / package_of(service) / "consumers.py").exists():
            importlib.import_module(f"{package_of(service)}.consumers")
    chosen = [item for item in messaging.registry if item.handler.__module__.endswith("_service.consumers")]
    return [asdict(binding) for binding in messaging.bindings_of(chosen)]


# --- OpenAPI 3.1 and JSON Schema -----------------------------------------------------------------------------------


def openapi_of(service: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of one service, with what only other services may call."""
    about = _about(service)
    endpoints = {service: endpoints_of(service)}
    return openapi.document(f"HeartGuard {service}", about, endpoints, {service: about}, error_catalogue().values())


def openapi_of_suite() -> dict[str, Any]:
    """The OpenAPI 3.1 document of everything that passes the gateway, and of the gateway's own health."""
    tags = {service: _about(service) for service in (*built_services(), "gateway")}
    endpoints = {
        service: [item for item in endpoints_of(service) if item.proxied and item.permission is not Door.INTERNAL]
        for service in built_services()
    }
    endpoints["gateway"] = endpoints_of("gateway")
    whole = openapi.document("HeartGuard", _SUITE, endpoints, tags, error_catalogue().values())
    # The gateway answers this one itself: no service is asked on the way, and a moment's facts have no tag.
    health = whole["paths"]["/gateway/health"]["get"]
    facts = health["responses"]["200"]
    del facts["headers"]["ETag"]
    degraded = {**facts, "description": "Not every service is ready; the same facts."}
    health["parameters"] = []
    health["responses"] = {"200": facts, "406": health["responses"]["406"], "503": degraded}
    return whole


_SUITE = """Open back end for cardiac remote monitoring.

Log in with `POST /auth/login` and send the `access_token` as a bearer token. Bodies and answers are JSON or XML, as
`Content-Type` and `Accept` say. Every error has an id, says in Spanish or English (`Accept-Language`) what to do next,
and comes as `application/problem+json` or `+xml` where that is asked for."""


def _about(service: str) -> str:
    return (importlib.import_module(package_of(service)).__doc__ or "").strip()


# --- XSD -----------------------------------------------------------------------------------------------------------

_XSD_TYPES: tuple[tuple[type[ma.Field[Any]], str], ...] = (
    (ma.Boolean, "xs:boolean"),
    (ma.Integer, "xs:long"),
    (ma.Number, "xs:double"),
    (ma.AwareDateTime, "xs:dateTime"),
    (ma.Date, "xs:date"),
)


def xsd_of(schema: Schema) -> str:
    """An XML Schema of a body or of one item; its root element carries the schema's name in lower case."""
    name = type(schema).__name__
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">']
    lines += [f'  <xs:element name="{_snake(name)}">', *_complex(schema, 4), "  </xs:element>", "</xs:schema>", ""]
    return "\n".join(lines)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _complex(schema: marshmallow.Schema, indent: int) -> list[str]:
    pad = " " * indent
    lines = [f"{pad}<xs:complexType>", f"{pad}  <xs:all>"]
    for name, field in schema.fields.items():
        least = 1 if field.required and not field.allow_none else 0
        lines += _element(field.data_key or name, field, least, indent + 4)
    return [*lines, f"{pad}  </xs:all>", f"{pad}</xs:complexType>"]


def _element(name: str, field: ma.Field[Any], least: int, indent: int, most: str = "1") -> list[str]:
    pad, occurs = " " * indent, f' minOccurs="{least}" maxOccurs="{most}"'
    if isinstance(field, ma.Nested):
        return [f'{pad}<xs:element name="{name}"{occurs}>', *_complex(field.schema, indent + 2), f"{pad}</xs:element>"]
    if isinstance(field, ma.List):
        most_items = str(getattr(field, "max_items", "unbounded"))
        inner = _element("item", field.inner, 0, indent + 6, most_items)
        return [
            f'{pad}<xs:element name="{name}"{occurs}>',
            f"{pad}  <xs:complexType>",
            f"{pad}    <xs:sequence>",
            *inner,
            f"{pad}    </xs:sequence>",
            f"{pad}  </xs:complexType>",
            f"{pad}</xs:element>",
        ]
    if isinstance(field, ma.Dict):
        return [
            f'{pad}<xs:element name="{name}"{occurs}>',
            f"{pad}  <xs:complexType>",
            f'{pad}    <xs:sequence><xs:any minOccurs="0" maxOccurs="unbounded" processContents="skip"/></xs:sequence>',
            f"{pad}  </xs:complexType>",
            f"{pad}</xs:element>",
        ]
    choices = next((check.choices for check in field.validators if isinstance(check, validate.OneOf)), None)
    if choices:
        return [
            f'{pad}<xs:element name="{name}"{occurs}>',
            f'{pad}  <xs:simpleType><xs:restriction base="xs:string">',
            *(f'{pad}    <xs:enumeration value="{choice}"/>' for choice in choices),
            f"{pad}  </xs:restriction></xs:simpleType>",
            f"{pad}</xs:element>",
        ]
    kind = next((xsd for python, xsd in _XSD_TYPES if isinstance(field, python)), "xs:string")
    return [f'{pad}<xs:element name="{name}" type="{kind}"{occurs}/>']


# --- files ---------------------------------------------------------------------------------------------------------


def schemas_of(service: str) -> dict[str, Schema]:
    """Every wire schema that a service's endpoints use, by name."""
    found: dict[str, Schema] = {}
    for endpoint in endpoints_of(service):
        for schema in (endpoint.body_schema, endpoint.query_schema, endpoint.item_schema):
            if schema is not None:
                found[type(schema).__name__] = schema
    return found


def generate() -> Iterator[tuple[Path, str]]:
    """Every generated file with its text."""
    yield ROUTES, _json(route_table())
    yield messaging.TOPOLOGY, _json(topology())
    yield OPENAPI, _json(openapi_of_suite())
    events: list[type[Event]] = [AuditLog]
    for service in built_services():
        document = openapi_of(service)
        yield SCHEMAS / "openapi" / f"{service}.json", _json(document)
        for name, schema in schemas_of(service).items():
            yield SCHEMAS / "json" / service / f"{name}.json", _json(_json_schema(schema))
            yield SCHEMAS / "xsd" / service / f"{name}.xsd", xsd_of(schema)
        events += events_of(service)
    for event in events:
        schema_text = msgspec.json.schema(event) | {"$schema": _DIALECT, "x-exchange": event.exchange}
        yield SCHEMAS / "json" / "events" / f"{event.type}.v{event.schema_version}.json", _json(schema_text)


_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _json_schema(schema: Schema) -> dict[str, Any]:
    text = json.dumps(openapi.schema_of(schema)).replace("#/components/schemas/", "#/$defs/")
    definitions = json.loads(text)
    own = definitions.pop(type(schema).__name__)
    return {"$schema": _DIALECT, **own, **({"$defs": definitions} if definitions else {})}


def _json(document: Any) -> str:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def error_catalogue() -> dict[str, type[ApiError]]:
    """Every error by id, with those of all services loaded; two classes of one id are a mistake found by a test."""
    for service in SERVICES:
        if (ROOT / package_of(service) / "errors.py").exists():
            importlib.import_module(f"{package_of(service)}.errors")
    return {kind.id: kind for kind in ApiError.registry}


def main(arguments: list[str]) -> int:
    """Write, or with `--check` compare, every generated file."""
    wanted = dict(generate())
    existing = {path for path in SCHEMAS.rglob("*.*") if path.is_file()}
    existing |= {path for path in (ROUTES, OPENAPI, messaging.TOPOLOGY) if path.exists()}
    stale = [path for path, text in wanted.items() if path not in existing or path.read_text() != text]
    stale += sorted(existing - set(wanted))
    if "--check" in arguments:
        for path in stale:
            print(f"stale: {path.relative_to(ROOT)}; run `python -m common.contracts`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
        else:
            path.unlink()
    print(f"{len(wanted)} files, {len(stale)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
