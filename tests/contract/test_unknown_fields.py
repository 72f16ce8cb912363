"""Nothing is assigned by accident: what a body may not say is refused by every route, in JSON and in XML."""

from __future__ import annotations

import re
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from common import contracts, serialization
from common.permissions import INTERNAL, PUBLIC
from tests.support.samples import body_of

INJECTED = {
    "id": str(uuid4()),
    "org_id": str(uuid4()),
    "roles": ["superadmin"],
    "password_hash": "x",
    "status": "active",
    "version": 1,
    "created_at": "2026-01-01T00:00:00Z",
    "is_superadmin": True,
}
MEANT = {
    ("POST /auth/users", "roles"),
    ("PUT /auth/users/{user_id}/status", "status"),
    ("POST /devices/{device_id}/health", "status"),
    ("POST /internal/care", "roles"),
    ("POST /models/{model_id}/versions", "version"),
}
"""Fields of these names that a body is meant to have. Whoever adds one says why in the review."""

ENDPOINTS = [
    (service, endpoint)
    for service in contracts.built_services()
    for endpoint in contracts.endpoints_of(service)
    if endpoint.body_schema is not None
]
ROUTES = [pytest.param(*item, id=f"{item[0]}: {item[1].method} {item[1].path}") for item in ENDPOINTS]


def test_only_known_bodies_have_fields_of_such_names():
    found = {
        (f"{endpoint.method} {endpoint.path}", name)
        for _, endpoint in ENDPOINTS
        for name in INJECTED.keys() & endpoint.body_schema.load_fields.keys()
    }
    assert found == MEANT


@pytest.mark.parametrize("media_type", [serialization.JSON, serialization.XML])
@pytest.mark.parametrize(("name", "endpoint"), ROUTES)
def test_what_a_body_may_not_say_is_refused(service, clinician, name, endpoint, media_type):
    under_test, who = service(name), clinician
    if endpoint.permission is INTERNAL:
        who = under_test.service_token("test", clinician.org_id)
    elif endpoint.permission is PUBLIC:
        who = None
    injected = {key: value for key, value in INJECTED.items() if key not in endpoint.body_schema.load_fields}
    body = body_of(endpoint.body_schema) | injected
    xml = media_type == serialization.XML
    data = serialization.render_xml(body, "request") if xml else serialization.render_json(body)
    path = re.sub(r"\{(\w+)\}", lambda match: str(uuid4()), endpoint.path)
    headers = {"Content-Type": media_type, "Accept": media_type, "Accept-Language": "en"}
    answer = under_test.call(endpoint.method, path, who, data=data, headers=headers)
    assert answer.status_code == 400, answer.text
    assert injected.keys() <= refused(answer, xml)


def refused(answer, xml):
    """The fields that are said to be unknown."""
    if not xml:
        error = answer.json["error"]
        details = [(item["field"], item["issue"]) for item in error["details"]]
        assert error["id"] == "HG-VAL-001"
    else:
        root = ElementTree.fromstring(answer.data)
        details = [(item.findtext("field"), item.findtext("issue")) for item in root.iterfind("error/details/item")]
        assert root.findtext("error/id") == "HG-VAL-001"
    return {field for field, issue in details if issue == "unknown field"}
