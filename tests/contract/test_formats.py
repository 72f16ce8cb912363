"""The same body in both formats has the same effect, and what one returns the other returns too: every schema."""

from __future__ import annotations

import json

import pytest
import xmltodict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from common import contracts, responses, serialization
from tests.support.strategies import documents

SCHEMAS = [
    pytest.param(schema, id=f"{service}.{name}")
    for service in contracts.built_services()
    for name, schema in contracts.schemas_of(service).items()
]


def loaded(schema, document):
    try:
        return schema.load(document)
    except ValidationError as error:
        return error.messages


@pytest.mark.parametrize("schema", SCHEMAS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_body_means_the_same_in_both_formats(schema, data):
    document = data.draw(documents(schema))
    from_json = serialization.parse_json(json.dumps(document).encode())
    text = serialization.render_xml(_explicit(document), root="anything")
    from_xml = serialization.parse_xml(text, schema)
    assert loaded(schema, from_xml) == loaded(schema, from_json)


def _explicit(value):
    """None becomes an empty element, at any depth: in a request an empty element is a null."""
    if isinstance(value, dict):
        return {key: "" if item is None else _explicit(item) for key, item in value.items()}
    return [_explicit(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("schema", SCHEMAS)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_an_answer_carries_the_same_in_both_formats(schema, data):
    rows = [data.draw(documents(schema)) for _ in range(2)]
    text = responses.render_success(rows, serialization.XML, {"limit": 2, "next_cursor": None})
    items = xmltodict.parse(text, strip_whitespace=False)["response"]["data"]
    items = items["item"] if items else []
    shaped = [serialization.shape_object(schema, item) for item in items]
    plain = json.loads(responses.render_success(rows, serialization.JSON))["data"]
    assert [loaded(schema, _present(row)) for row in shaped] == [loaded(schema, _present(row)) for row in plain]


def _present(value):
    """Null elements are left out of XML, so null and absent are one there; empty objects likewise become empty."""
    if isinstance(value, dict):
        return {key: _present(item) for key, item in value.items() if item is not None}
    return [_present(item) for item in value] if isinstance(value, list) else value
