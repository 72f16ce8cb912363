"""JSON and XML at the edges: what is refused, what is kept, and that the fast renderer equals dicttoxml."""

from __future__ import annotations

import logging

import dicttoxml
import pytest
import xmltodict
from hypothesis import given, settings
from hypothesis import strategies as st

from common import fields, serialization
from common.errors import UnparsableBody

# Without carriage returns: dicttoxml writes them raw, which parsers read as line feeds; ours keep (see below).
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",), exclude_characters="\r"), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=15
)


class Reading(fields.Schema):
    name = fields.Text(required=True)
    values = fields.ListOf(fields.Number())
    tags = fields.Mapping(fields.Text())
    password = fields.Text()
    active = fields.Boolean()


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NAMES, TREES, max_size=5))
def test_the_fast_renderer_equals_dicttoxml(document):
    logging.getLogger("dicttoxml").setLevel(logging.WARNING)
    reference = dicttoxml.dicttoxml(serialization.clean(document), custom_root="response", attr_type=False)
    fast = serialization.render_xml(document)
    assert xmltodict.parse(fast, strip_whitespace=False) == xmltodict.parse(reference, strip_whitespace=False)


def test_a_carriage_return_survives():
    assert xmltodict.parse(serialization.render_xml({"a": "x\r\ny"}))["response"]["a"] == "x\r\ny"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1000 + b"]" * 1000,
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": "\\u0000"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\ufffe"}',
        b"\xff\xfe",
        b"{",
        b"",
    ],
)
def test_unsafe_json_is_refused(body):
    with pytest.raises(UnparsableBody):
        serialization.parse_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "b">]><x><name>&a;</name></x>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
        b"<x>" * 1000 + b"</x>" * 1000,
        b"<x>" + b"<name>a</name>" * 20_000 + b"</x>",
        b'<x a="1"/>',
        b"<x><name></x>",
        b"<x><name>&#0;</name></x>",
        b"<?php echo 1 ?><x/>",
        b"",
    ],
)
def test_unsafe_xml_is_refused(body):
    with pytest.raises(UnparsableBody):
        serialization.parse_xml(body, Reading())


def test_brackets_in_text_are_no_depth():
    assert serialization.parse_json(b'{"a": "' + b"[" * 1000 + b'\\""}')["a"].startswith("[[")


def test_xml_shapes_are_restored_from_the_schema():
    body = """<reading>
        <name>5</name>
        <values><item>1</item></values>
        <tags><unit>mV</unit></tags>
        <password>  spaces stay  </password>
        <active>true</active>
    </reading>"""
    assert serialization.parse_xml(body.encode(), Reading()) == {
        "name": "5",
        "values": [1.0],
        "tags": {"unit": "mV"},
        "password": "  spaces stay  ",
        "active": True,
    }


@pytest.mark.parametrize("text", ["<values/>", "<values></values>", "<values>\n</values>"])
def test_an_empty_list_element_is_an_empty_list(text):
    assert serialization.parse_xml(f"<x>{text}</x>".encode(), Reading()) == {"values": []}


def test_unknown_elements_reach_the_schema():
    assert serialization.parse_xml(b"<x><other>1</other></x>", Reading()) == {"other": "1"}


def test_what_xml_cannot_carry_never_reaches_the_wire():
    text = serialization.render_xml({"a": "x\x01\ufffe\ud800y"})
    assert xmltodict.parse(text)["response"]["a"] == "x\ufffd\ufffd\ufffdy"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (fields.Integer(), 5.9),
        (fields.Integer(), "5"),
        (fields.Integer(), True),
        (fields.Integer(), 2**63),
        (fields.Number(), "1_000"),
        (fields.Number(), "١٢"),
        (fields.Number(), True),
        (fields.Boolean(), 1),
        (fields.Boolean(), "yes"),
        (fields.DateTime(), "2026-01-01T00:00:00"),
        (fields.DateTime(), "0001-01-01T00:00:00+14:00"),
        (fields.Date(), "20260101"),
        (fields.Uuid(), "0" * 32),
        (fields.Text(max_length=3), "abcd"),
        (fields.Text(), "   "),
        (fields.Email(), "x@y@z"),
    ],
)
def test_fields_are_strict(field, value):
    with pytest.raises(Exception, match=r"type|range|awareness|format|length"):
        field.deserialize(value)
