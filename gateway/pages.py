"""The gateway's pages for people: `/docs`, `/status`, what they load, and `/openapi.json`; nothing from outside."""

from __future__ import annotations

import gzip
import mimetypes
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import flask_swagger_ui
from flask import Blueprint, Response, render_template, request

from common.responses import language_of
from gateway.health import SuiteHealth
from gateway.wording import WORDING

_FOLDER = Path(__file__).parent / "public"
_SWAGGER = Path(flask_swagger_ui.__file__).parent / "dist"
_ASSETS = (
    _SWAGGER / "swagger-ui-bundle.js",
    _SWAGGER / "swagger-ui.css",
    _FOLDER / "docs.js",
    _FOLDER / "docs.css",
    _FOLDER / "status.js",
    _FOLDER / "status.css",
    _FOLDER / "heart.svg",
)
_YEAR_S = 365 * 24 * 3600
# `style-src` may be inline because Swagger UI sets styles on its elements; scripts come from files of ours alone.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True)
class _File:
    """A file in memory, as it is and compressed; `digest` names this very content."""

    content_type: str
    body: bytes
    compressed: bytes
    digest: str

    @classmethod
    def read(cls, path: Path) -> _File:
        body = path.read_bytes()
        content_type = mimetypes.types_map[path.suffix]
        return cls(content_type, body, gzip.compress(body, 9, mtime=0), sha256(body).hexdigest()[:16])

    def answer(self, cache_control: str) -> Response:
        """The file, compressed where the client takes that; 304 where the client has it."""
        compress = request.accept_encodings["gzip"] > 0
        headers = {"Content-Type": self.content_type, "Cache-Control": cache_control, "Vary": "Accept-Encoding"}
        if compress:
            headers["Content-Encoding"] = "gzip"
        response = Response(self.compressed if compress else self.body, 200, headers)
        response.set_etag(f"{self.digest}-gzip" if compress else self.digest)
        response.make_conditional(request)
        return response


class Pages:
    """Everything public that is not an endpoint of a service; `paths` is all of it."""

    def __init__(self, health: SuiteHealth) -> None:
        self._health = health
        self._document = _File.read(Path(__file__).with_name("openapi.json"))
        files = [(path.name, _File.read(path)) for path in _ASSETS]
        self._assets = {f"/assets/{file.digest}/{name}": file for name, file in files}
        self._addresses = {path.rpartition("/")[2]: path for path in self._assets}
        self.paths = frozenset({"/docs", "/status", "/openapi.json", *self._assets})

    def blueprint(self) -> Blueprint:
        """The routes of all `paths`."""
        found = Blueprint("pages", __name__, template_folder="public")
        found.add_url_rule("/docs", view_func=self._docs, endpoint="docs")
        found.add_url_rule("/status", view_func=self._status, endpoint="status")
        found.add_url_rule("/openapi.json", view_func=self._openapi, endpoint="openapi")
        found.add_url_rule("/assets/<digest>/<name>", view_func=self._asset, endpoint="asset")
        return found

    def _openapi(self) -> Response:
        return self._document.answer("no-cache")

    def _asset(self, digest: str, name: str) -> Response:
        return self._assets[f"/assets/{digest}/{name}"].answer(f"public, max-age={_YEAR_S}, immutable")

    def _docs(self) -> Response:
        return Response(render_template("docs.html", asset=self._addresses), 200, _PAGE_HEADERS)

    def _status(self) -> Response:
        """The suite's health in the reader's language, also before anything has answered: 200 in any state."""
        chosen = request.args.get("lang", "")
        language = chosen if chosen in WORDING else language_of(request.headers.get("Accept-Language", ""))
        words = WORDING[language]
        health = self._health.check()
        page = render_template(
            "status.html",
            asset=self._addresses,
            health=health,
            totals=_totals(health["services"]),
            words=words,
            now=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return Response(page, 200, _PAGE_HEADERS | {"Content-Language": language})


def _totals(services: list[dict[str, Any]]) -> dict[str, float]:
    """The suite in four numbers; what no worker has reported counts for nothing."""
    queues = [queue for service in services for queue in service["queues"]]
    outboxes = [service["outbox"] for service in services if service["outbox"] is not None]
    in_queues = sum(queue["waiting"] + queue["retrying"] for queue in queues)
    return {
        "running": sum(service["state"] == "up" for service in services),
        "waiting": in_queues + sum(outbox["waiting"] for outbox in outboxes),
        "dead": sum(queue["dead"] for queue in queues),
        "delay_s": max((item["oldest_s"] for item in [*queues, *outboxes]), default=0),
    }
