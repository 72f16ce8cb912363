"""Hypothesis strategies that make wire documents of any schema of the suite."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st
from marshmallow import Schema, validate
from marshmallow import fields as ma

from common import fields

# What XML 1.0 can carry; whitespace survives too (RULES: passwords).
CHARACTERS = st.characters(
    codec="utf-8", exclude_categories=("Cs", "Cc"), include_characters="\t\n", exclude_characters="\ufffe\uffff"
)


def documents(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that `schema` would accept, or nearly: rules over several fields are not known here."""
    if schema not in _made:
        _made[schema] = _documents(schema)
    return _made[schema]


# Building a strategy costs more than drawing from it.
_made: dict[Schema, st.SearchStrategy[dict[str, Any]]] = {}


def _documents(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    required, optional = {}, {}
    for name, field in schema.load_fields.items():
        target = required if field.required else optional
        target[field.data_key or name] = values(field)
    return st.fixed_dictionaries(required, optional=optional)


def values(field: ma.Field[Any]) -> st.SearchStrategy[Any]:
    """Wire values of one field."""
    made = _values(field)
    if not field.allow_none:
        return made
    # In XML an empty element is null where null is allowed, so an empty object or list cannot be told from it.
    return st.none() | made.filter(lambda value: value not in ({}, []))


def _values(field: ma.Field[Any]) -> st.SearchStrategy[Any]:
    choices = next((check.choices for check in field.validators if isinstance(check, validate.OneOf)), None)
    if choices:
        return st.sampled_from(list(choices))
    if isinstance(field, ma.Nested):
        return documents(field.schema)
    if isinstance(field, ma.List):
        least = getattr(field, "min_items", 0)
        return st.lists(
            values(field.inner), min_size=least, max_size=max(least, min(5, getattr(field, "max_items", 5)))
        )
    if isinstance(field, ma.Dict):
        keys = st.from_regex(re.compile(rf"(?!(?i:xml)){fields.Mapping.KEY}", re.ASCII), fullmatch=True)
        inner = values(field.value_field) if field.value_field else st.text(CHARACTERS, min_size=1)
        return st.dictionaries(keys.filter(lambda key: len(key) <= 20), inner, max_size=3)
    if isinstance(field, ma.UUID):
        return st.uuids().map(str)
    if isinstance(field, ma.Boolean):
        return st.booleans()
    if isinstance(field, ma.Integer):
        return st.integers(field.minimum, field.maximum)  # type: ignore[attr-defined]
    if isinstance(field, ma.Number):
        least, most = getattr(field, "minimum", -1e6), getattr(field, "maximum", 1e6)
        return st.floats(least, most, allow_nan=False, allow_infinity=False)
    if isinstance(field, ma.Date):
        return st.dates().map(str)
    if isinstance(field, ma.AwareDateTime):
        return st.datetimes().map(lambda moment: moment.isoformat() + "Z")
    if isinstance(field, ma.Email):
        return st.from_regex(r"[a-z]{1,10}@[a-z]{1,10}\.es", fullmatch=True)
    if isinstance(field, ma.Url):
        return st.from_regex(r"https://[a-z]{1,10}\.es/[a-z]{0,10}", fullmatch=True)
    if isinstance(field, fields.Text):
        least, most = max(field.min_length, 1), min(field.max_length, 30)
        free = st.text(CHARACTERS, min_size=least, max_size=max(least, most))
        made = st.from_regex(re.compile(field.pattern, re.ASCII), fullmatch=True) if field.pattern else free
        return made.filter(lambda text: bool(text.strip()) and len(text) <= field.max_length)
    raise TypeError(f"no strategy for {type(field).__name__}")
