"""Requests made up from the published documents, through the gateway: no 5xx, no undocumented answer, no ill body.

300 requests; 5,000 with HEARTGUARD_LONG=1. schemathesis makes each up as the document allows or just does not allow,
in JSON and in XML; half of them name things that exist.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import replace
from uuid import UUID
from xml.etree import ElementTree

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from common import contracts, responses, serialization
from common.permissions import INTERNAL, PUBLIC
from tests.support.samples import MAKERS
from tests.support.services import Person
from tests.support.suite import Suite

CASES = 5000 if os.environ.get("HEARTGUARD_LONG") else 300
MANY = ",".join(f"{name}=1000000" for name in ("read", "write", "ingest", "ack", "login"))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ACCEPTED = (
    serialization.JSON,
    serialization.XML,
    f"{responses.PROBLEM_JSON}, {serialization.JSON}",
    f"{responses.PROBLEM_XML}, {serialization.XML}",
)
BUSY = {503, 504}
OWNER = Person()
DECLARED = {
    (endpoint.method, endpoint.path): endpoint
    for service in contracts.built_services()
    for endpoint in contracts.endpoints_of(service)
    if endpoint.proxied and endpoint.permission is not INTERNAL
}


@schemathesis.serializer("application/xml")
def as_our_xml(_context, value):
    """A body in the shapes of this API; what is no object stays what it is, and is refused."""
    if isinstance(value, dict):
        return serialization.render_xml(value, "request")
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def documented():
    """Every operation that passes the gateway, with its service."""
    for service in contracts.built_services():
        document = json.loads((contracts.SCHEMAS / "openapi" / f"{service}.json").read_text())
        for result in schemathesis.openapi.from_dict(document).get_all_operations():
            operation = result.ok()
            if (operation.method.upper(), operation.path) in DECLARED:
                yield service, operation


OPERATIONS = list(documented())


@pytest.fixture(scope="module")
def suite(servers, tmp_path_factory):
    made = Suite(servers, tmp_path_factory.mktemp("fuzz"), {"RATE_LIMITS_IP": MANY, "RATE_LIMITS_USER": MANY})
    made.start_web(*contracts.built_services(), "gateway")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def samples(service):
    return {name: make(service(name), OWNER) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def account(samples):
    """The owner as auth knows them: whoever has no account there is refused before anything is done."""
    return replace(OWNER, user_id=UUID(samples["auth"]["user_id"]))


def test_every_operation_is_documented():
    assert {(operation.method.upper(), operation.path) for _, operation in OPERATIONS} == DECLARED.keys()


def test_no_request_brings_a_service_out_of_its_contract(service, suite, samples, account):
    statuses, formats, busy = Counter(), Counter(), Counter()

    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        derandomize=CASES == 300,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # a request to servers is not made smaller: the report shows it whole
    )
    @given(st.data())
    def ask(data):
        name, operation = data.draw(st.sampled_from(OPERATIONS))
        case = data.draw(operation.as_strategy(data.draw(st.sampled_from(GenerationMode))))
        endpoint = DECLARED[operation.method.upper(), operation.path]
        if data.draw(st.booleans()):
            case.path_parameters = {key: samples[name][key] for key in endpoint.parameters}
            if case.query:
                case.query.pop("org_id", None)
        headers = {"Accept": data.draw(st.sampled_from(ACCEPTED))}
        if endpoint.permission is not PUBLIC:
            headers["Authorization"] = f"Bearer {service(name).token(account if name == 'auth' else OWNER)}"
        for _ in range(3):
            response = case.call(base_url=suite.url("gateway"), headers=headers, allow_redirects=False)
            if response.status_code not in BUSY:
                break
            busy[response.status_code] += 1
            assert response.status_code == 504 or response.headers["retry-after"]
            time.sleep(1)  # a machine full of other work is no fault of the request: ask again, as the answer says
        case.validate_response(response, checks=CHECKS)
        kind = response.headers.get("content-type", [""])[0].partition(";")[0]
        if kind == serialization.JSON:
            assert json.loads(response.content)["status"] in ("success", "error")
        elif kind == serialization.XML:
            assert ElementTree.fromstring(response.content).findtext("status") in ("success", "error")
        elif kind == responses.PROBLEM_JSON:
            assert json.loads(response.content)["status"] == response.status_code
        elif kind == responses.PROBLEM_XML:
            assert ElementTree.fromstring(response.content).tag == "problem"
        statuses[response.status_code] += 1
        formats[case.media_type] += 1

    ask()
    print(dict(sorted(statuses.items())), dict(formats), "asked again after", dict(busy))
    assert statuses[200] + statuses[201] > CASES / 20, statuses
    assert min(formats[serialization.JSON], formats[serialization.XML]) > CASES / 20, formats
