"""JSON and XML in and out: bounded, strict, and with the same meaning in both formats.

XML output has dicttoxml's shapes; dicttoxml itself renders what the fast path does not know (RULES, PERFORMANCE).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NoReturn
from uuid import UUID
from xml.parsers import expat

import msgspec
import xmltodict
from marshmallow import Schema, fields

from common.errors import UnparsableBody

MAX_DEPTH = 32
MAX_XML_ELEMENTS = 10_000
JSON, XML = "application/json", "application/xml"

# XML 1.0, section 2.2 (Char): everything outside it, lone surrogates included, cannot be sent.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;", "\r": "&#13;"})
_DECLARATION = b'<?xml version="1.0" encoding="UTF-8" ?>'

json_encoder = msgspec.json.Encoder(decimal_format="number")


# --- out -----------------------------------------------------------------------------------------------------------


def render_json(document: Any) -> bytes:
    """JSON text of plain data (dict, list, str, number, bool, None, UUID, datetime)."""
    return json_encoder.encode(document)


def render_xml(document: dict[str, Any], root: str = "response") -> bytes:
    """XML text of plain data in dicttoxml's shapes: lists as `<item>`, None left out, no type attributes."""
    parts: list[str] = []
    try:
        _write(document, parts.append)
    except _UnusualError:
        return _render_with_dicttoxml(document, root)
    return b"%b<%b>%b</%b>" % (_DECLARATION, root.encode(), "".join(parts).encode(), root.encode())


class _UnusualError(Exception):
    """Data that only the reference renderer knows how to write."""


_names: dict[str, bool] = {}


def _is_plain_name(key: Any) -> bool:
    known = _names.get(key)
    if known is None:
        known = isinstance(key, str) and _NAME.fullmatch(key) is not None and not key.lower().startswith("xml")
        if len(_names) < 10_000:
            _names[key] = known
    return known


# Anything that must not be written as it is: markup, quotes (as dicttoxml does), carriage returns, what XML forbids.
_SPECIAL = re.compile("[^\t\n\x20!#-%(-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _text(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return value if _SPECIAL.search(value) is None else _FORBIDDEN.sub("\ufffd", value).translate(_ESCAPES)
    if kind is int:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is float and value - value == 0:  # neither an infinity nor NaN
        return repr(value)
    return _text(_clean_scalar(value))


def _write(value: dict[str, Any], out: Callable[[str], None]) -> None:
    for key, item in value.items():
        if item is None:
            continue
        if not (known if (known := _names.get(key)) is not None else _is_plain_name(key)):
            raise _UnusualError
        if isinstance(item, dict | list | tuple):
            out(f"<{key}>")
            _write_value(item, out)
            out(f"</{key}>")
        else:
            out(f"<{key}>{_text(item)}</{key}>")


def _write_value(value: Any, out: Callable[[str], None]) -> None:
    if isinstance(value, dict):
        _write(value, out)
        return
    for item in value:
        if isinstance(item, dict | list | tuple):
            out("<item>")
            _write_value(item, out)
            out("</item>")
        elif item is not None:
            out(f"<item>{_text(item)}</item>")


def _clean_scalar(value: Any) -> str | int | float | bool:
    """What dicttoxml would refuse or write wrongly, as the text that JSON shows for it."""
    if isinstance(value, Enum):
        return _clean_scalar(value.value)
    if isinstance(value, str):
        return _FORBIDDEN.sub("\ufffd", value)
    if isinstance(value, bool):
        return "true" if value else "false"  # in lists dicttoxml writes Python's True
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if abs(value) != float("inf") and value == value else ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    raise TypeError(f"no wire form for {type(value).__name__}")


def clean(value: Any) -> Any:
    """Plain data that dicttoxml can render: scalars normalised, None dropped from objects and lists."""
    if isinstance(value, dict):
        return {str(key): clean(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value if item is not None]
    return _clean_scalar(value)


def _render_with_dicttoxml(document: dict[str, Any], root: str) -> bytes:
    import dicttoxml  # slow to import and needed for odd keys only

    logging.getLogger("dicttoxml").setLevel(logging.WARNING)  # it logs every value at INFO
    rendered: bytes = dicttoxml.dicttoxml(clean(document), custom_root=root, attr_type=False)
    return rendered


# --- in ------------------------------------------------------------------------------------------------------------


def parse_json(body: bytes) -> Any:
    """Strict JSON: no duplicate keys, NaN, Infinity, depth over 32 or forbidden characters; else UnparsableBody."""
    try:
        text = body.decode("utf-8")
        if _depth_exceeds(text):
            raise UnparsableBody
        document = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UnparsableBody from error
    return _checked(document)


def _refuse(*_: Any) -> NoReturn:
    raise UnparsableBody


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise UnparsableBody
    return document


_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def _depth_exceeds(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for match in _BRACKETS.finditer(text):
        character = match.group()
        if character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif character in "]}":
            depth -= 1
    return False


def _checked(document: Any) -> Any:
    for text in _texts(document):
        if _FORBIDDEN.search(text):
            raise UnparsableBody
    return document


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            if type(item) not in (int, float):
                yield from _texts(item)


def parse_xml(body: bytes, schema: Schema) -> Any:
    """The body of any single root element as `schema` would have it from JSON; UnparsableBody when it is not safe."""
    _scan_xml(body)
    try:
        document = xmltodict.parse(body, strip_whitespace=False)
    except (expat.ExpatError, ValueError) as error:
        raise UnparsableBody from error
    (content,) = document.values()
    return _checked(shape_object(schema, content))


def _scan_xml(body: bytes) -> None:
    """Refuse DTDs, depth and element count before anything is built from them."""
    depth = elements = 0

    def start(_name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > MAX_DEPTH or elements > MAX_XML_ELEMENTS or attributes:
            raise UnparsableBody

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = parser.ProcessingInstructionHandler = _refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise UnparsableBody from error


def shape_object(schema: Schema, value: Any) -> Any:
    """Restore an object's shape from XML's or a query string's texts, field by field as the schema says."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}
    if not isinstance(value, dict):
        return value
    by_key = {field.data_key or name: field for name, field in schema.load_fields.items()}
    return {
        key: shape_field(by_key[key], item) if key in by_key else item
        for key, item in value.items()
        if not _is_layout(key, item)
    }


def _is_layout(key: str, item: Any) -> bool:
    return key == "#text" and isinstance(item, str) and not item.strip()


_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,3})?", re.ASCII)


def shape_field(field: fields.Field[Any], value: Any) -> Any:
    """One field's value from its text form; what does not fit is left as it is for the schema to refuse."""
    if isinstance(field, fields.Nested):
        # An empty element is null, where null is allowed; else it is an object without fields.
        return None if value is None and field.allow_none else shape_object(field.schema, value)
    if isinstance(field, fields.List):
        if value is None and field.allow_none:
            return None
        return [shape_field(field.inner, item) for item in _items(value)]
    if isinstance(field, fields.Dict):
        if value is None:
            return None if field.allow_none else {}
        if not isinstance(value, dict):
            return value if value.strip() else {}
        inner = field.value_field
        return {
            key: shape_field(inner, item) if inner else item for key, item in value.items() if not _is_layout(key, item)
        }
    if not isinstance(value, str):
        return value
    if isinstance(field, fields.Integer):
        return int(value) if _INTEGER.fullmatch(value) else value
    if isinstance(field, fields.Number):
        return float(value) if _NUMBER.fullmatch(value) else value
    if isinstance(field, fields.Boolean):
        return {"true": True, "false": False}.get(value, value)
    return value


def _items(value: Any) -> list[Any]:
    """The items of a list element: none, one, or many `<item>`."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    if isinstance(value, dict):
        extra = [key for key in value if key != "item" and not _is_layout(key, value[key])]
        if not extra:
            inner = value.get("item", [])
            return inner if isinstance(inner, list) else [inner]
    return value if isinstance(value, list) else [value]
