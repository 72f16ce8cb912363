"""What every OpenAPI document has alike: the token, the shapes of errors and pages, shared parameters and headers."""

from __future__ import annotations

from typing import Any

TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "The `access_token` that `POST /auth/login` answers with.",
}
_DETAILS = {
    "type": "array",
    "xml": {"wrapped": True},
    "items": {
        "type": "object",
        "properties": {"field": {"type": "string"}, "issue": {"type": "string"}},
        "xml": {"name": "item"},
    },
}
_ERROR_ID = {"type": "string", "pattern": "^HG-[A-Z]+-[0-9]{3}$"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "Error": {
        "type": "object",
        "xml": {"name": "response"},
        "required": ["status", "code", "error"],
        "properties": {
            "status": {"const": "error"},
            "code": {"type": "integer"},
            "error": {
                "type": "object",
                "required": ["id", "message", "details", "request_id"],
                "properties": {
                    "id": _ERROR_ID,
                    "message": {"type": "string"},
                    "details": _DETAILS,
                    "request_id": {"type": "string"},
                },
            },
        },
    },
    "Problem": {
        "description": "The same facts as RFC 9457 wants them.",
        "type": "object",
        "xml": {"name": "problem"},
        "required": ["type", "title", "status", "id", "details", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "id": _ERROR_ID,
            "details": _DETAILS,
            "request_id": {"type": "string"},
        },
    },
    "Meta": {
        "type": "object",
        "required": ["limit"],
        "properties": {"limit": {"type": "integer"}, "next_cursor": {"type": ["string", "null"]}},
    },
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "org_id": {
        "in": "query",
        "name": "org_id",
        "description": "The organisation to work on; only superadmins name one.",
        "schema": {"type": "string", "format": "uuid"},
    },
    "Idempotency-Key": {
        "in": "header",
        "name": "Idempotency-Key",
        "description": "With the same key and body the first answer comes again for 24 hours; another body is a 409.",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "in": "header",
        "name": "If-None-Match",
        "description": "The `ETag` of what is known already; 304 when it is still so.",
        "schema": {"type": "string"},
    },
    "If-Match": {
        "in": "header",
        "name": "If-Match",
        "description": "The `ETag` of what was read; 412 when it has changed since.",
        "schema": {"type": "string"},
    },
}
HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {"description": "Names the state of the resource, for `If-Match`.", "schema": {"type": "string"}},
    "X-Request-ID": {
        "description": "Names this request in every log line and in the audit trail.",
        "schema": {"type": "string"},
    },
    "Location": {"description": "Where the new resource is.", "schema": {"type": "string", "format": "uri-reference"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
}
