"""Success and error envelopes, and the choice of format and language. Needs no request context."""

from __future__ import annotations

from typing import Any

from werkzeug.datastructures import LanguageAccept, MIMEAccept
from werkzeug.http import parse_accept_header

from common import serialization
from common.errors import LANGUAGES, ApiError, NotAcceptable, issue_text

PROBLEM_JSON, PROBLEM_XML = "application/problem+json", "application/problem+xml"
_FORMATS = [serialization.JSON, serialization.XML, "text/xml"]
_ERROR_FORMATS = [*_FORMATS, PROBLEM_JSON, PROBLEM_XML]
Answer = tuple[int, list[tuple[str, str]], bytes]


def negotiate(accept: str) -> str:
    """`application/json` or `application/xml` for a successful answer; NotAcceptable when neither will do."""
    if not accept or accept in ("*/*", serialization.JSON):
        return serialization.JSON
    chosen = parse_accept_header(accept, MIMEAccept).best_match([*_FORMATS, PROBLEM_JSON, PROBLEM_XML])
    if chosen is None:
        raise NotAcceptable
    return serialization.XML if "xml" in chosen else serialization.JSON


def language_of(accept_language: str) -> str:
    """`es` unless the reader prefers English."""
    return parse_accept_header(accept_language, LanguageAccept).best_match(LANGUAGES, default="es") or "es"


def render_success(data: Any, media_type: str, meta: dict[str, Any] | None = None) -> bytes:
    """The success envelope; `meta` goes with lists."""
    envelope: dict[str, Any] = {"status": "success", "data": data}
    if meta is not None:
        envelope["meta"] = meta
    return (
        serialization.render_xml(envelope) if media_type == serialization.XML else serialization.render_json(envelope)
    )


def render_error(error: ApiError, accept: str, accept_language: str, request_id: str) -> Answer:
    """Status, headers and body of an error in the format and language asked for."""
    language = language_of(accept_language)
    chosen = parse_accept_header(accept or "*/*", MIMEAccept).best_match(_ERROR_FORMATS) or serialization.JSON
    details = [{"field": item["field"], "issue": issue_text(item["issue"], language)} for item in error.details]
    if chosen in (PROBLEM_JSON, PROBLEM_XML):
        document: dict[str, Any] = {
            "type": f"urn:heartguard:error:{error.id}",
            "title": error.message(language),
            "status": error.status,
            "id": error.id,
            "details": details,
            "request_id": request_id,
        }
        root = "problem"
    else:
        document = {
            "status": "error",
            "code": error.status,
            "error": {
                "id": error.id,
                "message": error.message(language),
                "details": details,
                "request_id": request_id,
            },
        }
        root = "response"
    xml = "xml" in chosen
    body = serialization.render_xml(document, root) if xml else serialization.render_json(document)
    if chosen == "text/xml":
        chosen = serialization.XML
    headers = [("Content-Type", f"{chosen}; charset=utf-8"), ("Content-Language", language), *error.headers.items()]
    return error.status, headers, body
