"""The published document and the gateway's own pages: valid, complete, with true examples, and served safely."""

from __future__ import annotations

import gzip
import json
import re
import time
from functools import cache
from typing import Any

import pytest
import redis as redis_client
import xmltodict
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from common import contracts, responses, serialization
from common.config import SERVICE_PORTS
from gateway.config import ADDRESS_LIMITS
from gateway.pages import Pages
from gateway.schemas import SuiteHealthOut
from tests.gateway.stage import USER, Gateway, bearer

JSON, XML = serialization.JSON, serialization.XML


@cache
def document() -> dict[str, Any]:
    return contracts.openapi_of_suite()


def operations() -> list[Any]:
    return [
        pytest.param(path, method, id=operation["operationId"])
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    ]


@cache
def bodies() -> dict[tuple[str, str], Any]:
    """The schema of each operation's body."""
    return {
        (endpoint.path, endpoint.method.lower()): endpoint.body_schema
        for service in contracts.built_services()
        for endpoint in contracts.endpoints_of(service)
    }


def resolved(item: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in item:
        return item
    found: Any = document()
    for part in item["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def pointer(*parts: str) -> str:
    return "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)


def assert_fits(example: Any, *place: str) -> None:
    """The example obeys the schema that stands at a place of the document."""
    registry = Registry().with_resource("urn:suite", Resource(document(), DRAFT202012))
    schema = {"$ref": f"urn:suite#/{pointer(*place)}"}
    problems = [error.message for error in OAS31Validator(schema, registry=registry).iter_errors(example)]
    assert not problems, (place, problems)


# --- the document ---


def test_the_document_is_valid_openapi():
    assert document()["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(document()).iter_errors()] == []


def test_it_holds_what_passes_the_gateway_and_nothing_else():
    found = {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}
    passing = {
        (route["method"], route["path"]) for route in contracts.route_table() if route["permission"] != "INTERNAL"
    }
    assert found == passing | {("GET", "/gateway/health")}


def test_operations_are_named_once_and_grouped_by_service():
    every = [item for methods in document()["paths"].values() for item in methods.values()]
    names = [item["operationId"] for item in every]
    assert len(names) == len(set(names))
    assert {tag for item in every for tag in item["tags"]} == set(SERVICE_PORTS)
    assert {tag["name"]: bool(tag["description"]) for tag in document()["tags"]} == dict.fromkeys(SERVICE_PORTS, True)


@pytest.mark.parametrize(("path", "method"), operations())
def test_every_operation_has_true_examples_in_both_formats(path, method):
    operation = document()["paths"][path][method]
    here = ("paths", path, method)
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]
        example = content[JSON]["example"]
        assert_fits(example, *here, "requestBody", "content", JSON, "schema")
        schema = bodies()[path, method]
        assert schema.validate(example) == {}
        assert serialization.parse_xml(content[XML]["example"].encode(), schema) == example
    answered = {status: resolved(answer) for status, answer in operation["responses"].items()}
    for answer in answered.values():
        if not {JSON, XML} <= set(answer.get("content", ())) or "example" not in answer["content"][JSON]:
            continue
        content = answer["content"]
        assert_fits(
            content[JSON]["example"],
            *here,
            "responses",
            "200" if "200" in answered else "201",
            "content",
            JSON,
            "schema",
        )
        same = serialization.render_xml(content[JSON]["example"]).decode()
        assert xmltodict.parse(content[XML]["example"]) == xmltodict.parse(same)
    succeeded = next(answer for status, answer in answered.items() if status < "400")
    assert "content" not in succeeded or {JSON, XML} <= set(succeeded["content"]) or "*/*" in succeeded["content"]


def test_every_error_has_an_example_in_four_formats():
    for name, answer in document()["components"]["responses"].items():
        assert set(answer["content"]) == {JSON, XML, responses.PROBLEM_JSON, responses.PROBLEM_XML}, name
        for media_type, content in answer["content"].items():
            assert content["examples"], name
            for error_id, reference in content["examples"].items():
                example = resolved(reference)["value"]
                shown = example if media_type.endswith("json") else xmltodict.parse(example)
                assert error_id in json.dumps(shown)
                if media_type.endswith("json"):
                    assert_fits(example, "components", "responses", name, "content", media_type, "schema")


def test_each_operation_names_the_errors_that_its_door_makes_possible():
    for methods in document()["paths"].values():
        for operation in methods.values():
            statuses = set(operation["responses"])
            if operation["operationId"] == "gateway_suite_health":
                continue
            assert {"406", "429", "500", "502", "503", "504"} <= statuses
            assert not operation["security"] or {"401", "403"} <= statuses, operation["operationId"]


# --- the pages ---


def test_the_document_is_served_as_it_was_generated(gateway: Gateway):
    given = gateway.ask("GET", "/openapi.json")
    assert given.status == 200
    assert given.headers["Content-Type"] == "application/json"
    assert json.loads(given.body) == json.loads(contracts.OPENAPI.read_text())
    small = gateway.ask("GET", "/openapi.json", {"Accept-Encoding": "gzip"})
    assert small.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in small.headers["Vary"]
    assert gzip.decompress(small.body) == given.body
    known = gateway.ask("GET", "/openapi.json", {"If-None-Match": given.headers["ETag"]})
    assert (known.status, known.body) == (304, b"")


@pytest.mark.parametrize("path", ["/docs", "/status"])
def test_pages_load_only_local_files_that_may_be_kept(gateway: Gateway, path):
    page = gateway.ask("GET", path, {"Accept": "text/html,application/xhtml+xml;q=0.9"})
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in policy
    text = page.body.decode()
    assert not re.findall(r"<script(?![^>]*\bsrc=)|\son\w+=|style=", text)
    addresses = re.findall(r'(?:src|href)="([^"]+)"', text)
    assets = [address for address in addresses if address.startswith("/assets/")]
    assert len(assets) >= 4
    assert all(address.startswith(("/", "?lang=")) and not address.startswith("//") for address in addresses)
    for address in assets:
        file = gateway.ask("GET", address)
        assert (file.status, file.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
        assert file.headers["X-Content-Type-Options"] == "nosniff"
        assert b"http" not in re.findall(rb"@import[^;]*|url\([^)]*\)", file.body)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/assets/0000000000000000/status.css", 404),
        ("/assets/../app.py", 404),
        ("/docs/index.html", 404),
        ("/openapi.yaml", 404),
    ],
)
def test_nothing_else_is_served(gateway: Gateway, path, status):
    assert gateway.ask("GET", path).status == status


def test_pages_are_read_only_and_limited_by_address(new_gateway):
    gateway = new_gateway(RATE_LIMITS_IP="read=5", TRUSTED_PROXY_HOPS="1")
    asset = next(iter(Pages(None).paths - {"/docs", "/status", "/openapi.json"}))
    for number, page in enumerate(["/docs", "/status", "/openapi.json", "/gateway/health", asset]):
        where = {"X-Forwarded-For": f"192.0.2.{number}"}
        assert gateway.ask("POST", page, where).status == 405
        answers = [gateway.ask("GET", page, where) for _ in range(7)]
        assert 429 not in [answer.status for answer in answers[:4]], page
        assert (answers[-1].status, answers[-1].error_id) == (429, "HG-RATE-001"), page
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"5"}, page
        assert [answer.headers["RateLimit-Remaining"] for answer in answers[:4]] == ["3", "2", "1", "0"], page
    assert gateway.ask("GET", "/health").status == 200, "whoever keeps the gateway running is never refused"


def test_watching_starves_neither_samples_nor_an_acknowledgement(new_gateway):
    everything = ",".join(f"{name}=3" for name in ADDRESS_LIMITS)
    gateway = new_gateway(RATE_LIMITS_IP=everything, GATEWAY_ROUTES_FILE=str(contracts.ROUTES))
    while gateway.ask("GET", "/status").status != 429:
        pass
    someone = bearer(permissions=["alert:ack", "alert:read", "timeseries:write"])
    assert gateway.ask("GET", "/alerts", someone).status == 429
    for path, limited in (("/timeseries/write", "ingest"), (f"/alerts/{USER}/ack", "ack"), ("/auth/login", "login")):
        answers = [gateway.ask("POST", path, someone) for _ in range(4)]
        assert 429 not in [answer.status for answer in answers[:3]], limited
        assert answers[3].status == 429, limited


# --- the suite's health ---


def test_health_says_what_workers_wrote_in_both_formats(gateway: Gateway, redis):
    facts = {
        "queues": [{"name": "alert.candidates", "waiting": 7, "oldest_s": 4.5, "retrying": 1, "dead": 2}],
        "outbox": {"waiting": 3, "oldest_s": 90.5},
    }
    with redis_client.Redis.from_url(redis.url) as client:
        client.set("backlog:alert", json.dumps(facts), ex=30)
        time.sleep(1.1)  # an answer is believed for a second
        try:
            as_json = json.loads(gateway.ask("GET", "/gateway/health").body)
            as_xml = gateway.ask("GET", "/gateway/health", {"Accept": "application/xml"})
            page = gateway.ask("GET", "/status", {"Accept-Language": "en"}).body.decode()
        finally:
            client.delete("backlog:alert")
    assert SuiteHealthOut().validate(as_json["data"]) == {}
    services = {item["name"]: item for item in as_json["data"]["services"]}
    assert list(services) == list(SERVICE_PORTS)
    assert {name: services["alert"][name] for name in facts} == facts
    assert services["alert"]["dependencies"] == [{"name": "postgresql", "state": "up", "latency_ms": 0.7}]
    assert (services["user"]["state"], services["user"]["outbox"], services["user"]["queues"]) == ("down", None, [])
    wanted = xmltodict.parse(serialization.render_xml(as_json))["response"]["data"]["services"]["item"]
    given = xmltodict.parse(as_xml.body)["response"]["data"]["services"]["item"]
    assert [item["name"] for item in given] == [item["name"] for item in wanted]
    assert given[list(services).index("alert")]["queues"] == wanted[list(services).index("alert")]["queues"]
    assert '<th scope="row">candidates</th><td>7</td><td>4 s</td><td>1</td><td class="bad">2</td>' in page
    assert '<dd class="bad">90 s</dd>' in page
    assert "<dd>11</dd>" in page


@pytest.mark.parametrize(
    ("path", "accepted", "language", "heading"),
    [
        ("/status", "es-MX,es;q=0.9,en;q=0.5", "es", "Estado del sistema"),
        ("/status", "en-GB,en;q=0.9", "en", "System status"),
        ("/status", "fr", "es", "Estado del sistema"),
        ("/status?lang=en", "es", "en", "System status"),
        ("/status?lang=<b>", "es", "es", "Estado del sistema"),
    ],
)
def test_the_status_speaks_the_readers_language(gateway: Gateway, path, accepted, language, heading):
    page = gateway.ask("GET", path.replace("<", "%3C").replace(">", "%3E"), {"Accept-Language": accepted})
    assert (page.status, page.headers["Content-Language"]) == (200, language)
    assert f'<html lang="{language}">' in page.body.decode()
    assert heading in page.body.decode()


def test_the_status_is_shown_also_while_redis_is_away(new_gateway):
    gateway = new_gateway(REDIS_URL="redis://127.0.0.1:9/0")
    page = gateway.ask("GET", "/status", {"Accept-Language": "en"})
    assert page.status == 200
    card = re.search(r'<section class="service (\w+)" id="gateway".*?</section>', page.body.decode(), re.DOTALL)
    assert card[1] == "degraded"
    assert "redis <small>Down</small>" in card[0]
