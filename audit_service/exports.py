"""The trail as a document: NDJSON, or CSV that is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from audit_service.chain import FIELDS
from audit_service.models import AuditLog
from common.api import Raw
from common.pagination import Page

MAX_EXPORT = 5000
_COLUMNS = (*FIELDS, "hash")
# What spreadsheets take for a formula (OWASP, CSV Injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def _values(row: AuditLog) -> dict[str, Any]:
    return {name: getattr(row, name) for name in FIELDS} | {"hash": row.hash_hex}


def write_page(format: str, page: Page, *, first: bool) -> Raw:
    """One page in `format`, as an attachment."""
    content_type, write = _WRITERS[format]
    headers = {"Content-Disposition": f'attachment; filename="audit.{format}"'}
    if page.next_cursor is not None:
        headers["X-Next-Cursor"] = page.next_cursor
    return Raw(write([_values(row) for row in page.items], first), content_type, headers)


def _write_ndjson(rows: list[dict[str, Any]], _first: bool) -> bytes:
    return msgspec.json.Encoder().encode_lines(rows)


def _write_csv(rows: list[dict[str, Any]], first: bool) -> bytes:
    """RFC 4180, with a header on the first page only, so that pages can be joined."""
    out = io.StringIO()
    writer = csv.writer(out)
    if first:
        writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])
    return out.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    text = msgspec.json.encode(value).decode() if isinstance(value, dict) else str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


_WRITERS: dict[str, tuple[str, Callable[[list[dict[str, Any]], bool], bytes]]] = {
    "ndjson": ("application/x-ndjson", _write_ndjson),
    "csv": ("text/csv; charset=utf-8", _write_csv),
}
FORMATS = tuple(_WRITERS)
