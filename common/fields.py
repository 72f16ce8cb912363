"""The field types of wire schemas: strict by default, bounded, with issues that can be said in two languages.

Services take fields from here and not from marshmallow, whose Integer takes 5.9 and whose DateTime takes naive times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import marshmallow
from marshmallow import RAISE, fields, validate

_COMMON = {"required": "required", "null": "null", "validator_failed": "format"}


class Schema(marshmallow.Schema):
    """A wire shape. Unknown fields are refused, so nothing is assigned by accident."""

    class Meta:
        unknown = RAISE

    error_messages = {"unknown": "unknown", "type": "type"}


def _messages(*keys: str, issue: str = "type") -> dict[str, Any]:
    return _COMMON | dict.fromkeys(keys, issue)


class Text(fields.String):
    """Text of `min_length`..`max_length` characters, not blank unless `min_length` is 0."""

    def __init__(self, max_length: int = 1000, min_length: int = 1, pattern: str | None = None, **options: Any) -> None:
        checks: list[validate.Validator] = [validate.Length(min_length, max_length, error="length")]
        if pattern:
            checks.append(validate.Regexp(re.compile(pattern, re.ASCII), error="format"))
        self.max_length, self.min_length, self.pattern = max_length, min_length, pattern
        super().__init__(validate=checks, error_messages=_messages("invalid", "invalid_utf8"), **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **options: Any) -> Any:
        text = super()._deserialize(value, attr, data, **options)
        if self.min_length and not text.strip():
            raise marshmallow.ValidationError("length")
        return text


class Email(fields.Email):
    """An e-mail address of at most 150 characters, kept in lower case."""

    def __init__(self, max_length: int = 150, **options: Any) -> None:
        self.max_length = max_length
        super().__init__(
            validate=validate.Length(max=max_length, error="length"),
            error_messages=_messages("invalid", issue="format"),
            **options,
        )

    def _deserialize(self, value: Any, attr: Any, data: Any, **options: Any) -> Any:
        return super()._deserialize(value, attr, data, **options).lower()


class Url(fields.Url):
    """An http(s) address of at most 2,000 characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            schemes={"http", "https"},
            require_tld=False,
            validate=validate.Length(max=2000, error="length"),
            error_messages=_messages("invalid", issue="format"),
            **options,
        )


class Integer(fields.Integer):
    """A whole number; 5.9, "5" and true are refused. Bounds default to those of a PostgreSQL bigint."""

    def __init__(self, minimum: int = -(2**63), maximum: int = 2**63 - 1, **options: Any) -> None:
        self.minimum, self.maximum = minimum, maximum
        super().__init__(
            strict=True,
            validate=validate.Range(minimum, maximum, error="range"),
            error_messages=_messages("invalid", "too_large"),
            **options,
        )

    def _validated(self, value: Any) -> Any:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise self.make_error("invalid")
        return super()._validated(value)


class Number(fields.Float):
    """A finite floating point number between `minimum` and `maximum`."""

    def __init__(self, minimum: float = -1e15, maximum: float = 1e15, **options: Any) -> None:
        self.minimum, self.maximum = minimum, maximum
        super().__init__(
            validate=validate.Range(minimum, maximum, error="range"),
            error_messages=_messages("invalid", "too_large", "special"),
            **options,
        )

    def _validated(self, value: Any) -> Any:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise self.make_error("invalid")
        return super()._validated(value)


class Boolean(fields.Boolean):
    """true or false, nothing that merely looks like it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(truthy={True}, falsy={False}, error_messages=_messages("invalid"), **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **options: Any) -> Any:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class DateTime(fields.AwareDateTime):
    """A moment with a time zone, kept in UTC, written as ISO 8601 with `Z`."""

    def __init__(self, **options: Any) -> None:
        messages = _messages("invalid", issue="format") | {"invalid_awareness": "awareness"}
        super().__init__(error_messages=messages, **options)

    def _serialize(self, value: Any, attr: Any, obj: Any, **options: Any) -> Any:
        if value is None:
            return None
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")

    def _deserialize(self, value: Any, attr: Any, data: Any, **options: Any) -> Any:
        if not isinstance(value, str) or not value.isascii():
            raise self.make_error("invalid", input=value, obj_type="datetime")
        moment: datetime = super()._deserialize(value, attr, data, **options)
        try:
            return moment.astimezone(UTC)
        except OverflowError as error:
            raise self.make_error("invalid", input=value, obj_type="datetime") from error


class Date(fields.Date):
    """A calendar date, ISO 8601."""

    def __init__(self, **options: Any) -> None:
        super().__init__(error_messages=_messages("invalid", issue="format"), **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **options: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
            raise self.make_error("invalid", input=value, obj_type="date")
        return super()._deserialize(value, attr, data, **options)


class Uuid(fields.UUID):
    """A UUID in its canonical form of 36 characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(error_messages=_messages("invalid_uuid", issue="format"), **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **options: Any) -> Any:
        if not isinstance(value, str) or len(value) != 36:
            raise self.make_error("invalid_uuid")
        return super()._deserialize(value, attr, data, **options)


class Choice(fields.String):
    """One of a fixed set of texts (an Enum or an iterable)."""

    def __init__(self, choices: Iterable[str] | type[Enum], **options: Any) -> None:
        self.choices = [str(getattr(choice, "value", choice)) for choice in choices]
        super().__init__(
            validate=validate.OneOf(self.choices, error="choice"), error_messages=_messages("invalid"), **options
        )


class ListOf(fields.List):  # type: ignore[type-arg]
    """A list of at most `max_items` items of one type."""

    def __init__(self, inner: Any, max_items: int = 1000, min_items: int = 0, **options: Any) -> None:
        self.max_items, self.min_items = max_items, min_items
        super().__init__(
            inner,
            validate=validate.Length(min_items, max_items, error="length"),
            error_messages=_messages("invalid"),
            **options,
        )


class Nested(fields.Nested):
    """An object of another schema."""

    def __init__(self, nested: Any, **options: Any) -> None:
        super().__init__(nested, error_messages=_messages("type"), **options)


class Mapping(fields.Dict):
    """An object with free keys (letters, digits, `_`, `.`, `-`; a letter or `_` first) and values of one type."""

    KEY = r"[A-Za-z_][A-Za-z0-9_.-]*"

    def __init__(self, values: Any, max_items: int = 50, max_key_length: int = 60, **options: Any) -> None:
        self.max_items = max_items
        super().__init__(
            keys=Text(max_length=max_key_length, pattern=rf"^{self.KEY}\Z"),
            values=values,
            validate=validate.Length(max=max_items, error="length"),
            error_messages=_messages("invalid"),
            **options,
        )

    def _deserialize(self, value: Any, attr: Any, data: Any, **options: Any) -> Any:
        try:
            return super()._deserialize(value, attr, data, **options)  # type: ignore[no-untyped-call]
        except marshmallow.ValidationError as error:
            # Problems come apart as those of the key and those of the value; the reader knows only the entry.
            if not isinstance(error.messages, dict):
                raise
            entries = {key: [*parts.values()] for key, parts in error.messages.items()}
            raise marshmallow.ValidationError(entries) from error


def problems_of(messages: Any, path: str = "") -> list[dict[str, str]]:
    """Flatten marshmallow's nested messages into `[{"field": "values.0", "issue": "type"}]`, all of them."""
    if isinstance(messages, dict):
        found = []
        for key, inner in messages.items():
            name = path if key == "_schema" else f"{path}.{key}" if path else str(key)
            found += problems_of(inner, name)
        return found
    if isinstance(messages, list):
        return [problem for message in messages for problem in problems_of(message, path)]
    return [{"field": path, "issue": str(messages)}]
