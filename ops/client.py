"""A JSON client of the gateway for the operators' tools: the demo and the endpoint check."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from typing import Any
from uuid import uuid4

import urllib3
from dotenv import load_dotenv

from common.config import ROOT, TokenSettings
from common.permissions import Permission
from common.tokens import AUDIENCE, TokenSigner

ATTEMPTS = 5
MAX_PAUSE_S = 5.0


class CallFailed(Exception):
    """The suite answered with an error; the text says which, and its request id."""


class Client:
    """Calls the gateway as one caller; waits when asked to (429, 503) and tries again a few times."""

    def __init__(self, base_url: str, token: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._token = token
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=2, read=15), retries=False, maxsize=4)

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """One request, answered as it is; repeated while the suite asks to wait."""
        complete = {"Accept": "application/json", "Idempotency-Key": str(uuid4()), **(headers or {})}
        if self._token:
            complete["Authorization"] = f"Bearer {self._token}"
        for attempt in range(ATTEMPTS):
            answer = self._pool.request(method, self.base_url + path, body=body, headers=complete)
            if answer.status not in (429, 503) or attempt == ATTEMPTS - 1:
                return answer
            time.sleep(min(float(answer.headers.get("Retry-After", 1)), MAX_PAUSE_S))
        raise AssertionError("unreachable")

    def call(self, method: str, path: str, body: Any = None, request_id: str | None = None) -> Any:
        """The whole JSON answer of a request; raises CallFailed for anything but success."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if request_id is not None:
            headers["X-Request-ID"] = request_id
        answer = self.send(method, path, None if body is None else json.dumps(body).encode(), headers)
        document = answer.json() if answer.data else {}
        if answer.status >= 400:
            error = document.get("error", {})
            details = "; ".join(f"{item['field']}: {item['issue']}" for item in error.get("details", []))
            raise CallFailed(
                f"{method} {path}: {answer.status} {error.get('id', '')} {error.get('message', '')} {details}"
                f" (request {error.get('request_id', '?')})"
            )
        return document

    def get(self, path: str) -> Any:
        """The `data` of a GET."""
        return self.call("GET", path)["data"]

    def post(self, path: str, body: Any = None, request_id: str | None = None) -> Any:
        """The `data` of a POST."""
        return self.call("POST", path, {} if body is None else body, request_id).get("data")

    def login(self, user: str, password: str) -> None:
        """Go on as this user."""
        self._token = self.post("/auth/login", {"email": user, "password": password})["access_token"]


def wire(at: datetime) -> str:
    """A moment in UTC as the wire has it."""
    return at.isoformat().replace("+00:00", "Z")


def gateway_url(host: str | None = None, port: int | None = None) -> str:
    """The gateway's address on this machine, or at `host` and `port`."""
    load_dotenv(os.environ.get("HEARTGUARD_ENV_FILE", ROOT / ".env"))
    return f"http://{host or '127.0.0.1'}:{port or os.environ.get('GATEWAY_PORT', '5000')}"


def operator(base_url: str, user: str | None, password: str | None) -> Client:
    """A client as superadmin: by log-in where a user is given, else with a short token signed by this machine's key.

    Raises SystemExit with what to do where neither is possible.
    """
    client = Client(base_url)
    if user:
        client.login(user, password or os.environ.get("HEARTGUARD_PASSWORD", ""))
        return client
    if not (ROOT / ".env").exists() and "JWT_SIGNING_KEYS" not in os.environ:
        raise SystemExit("No .env here to sign a token with: give --user and --password of a superadmin.")
    signer = TokenSigner(TokenSettings.load("operator"), AUDIENCE)
    return Client(
        base_url,
        signer.sign(str(uuid4()), seconds=600, roles=["superadmin"], permissions=[item.value for item in Permission]),
    )
