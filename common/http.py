"""The internal client: how one service asks another. Short, bounded, with a token of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import urllib3

from common.auth import Caller
from common.config import Settings
from common.errors import NotFound, Unavailable, UpstreamTimeout
from common.permissions import Permission
from common.tokens import mint_service_token

CONNECT_S, READ_S = 0.3, 2.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024


class InternalClient:
    """Calls other services over keep-alive connections; never inside a transaction."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = urllib3.PoolManager(
            num_pools=12,
            maxsize=8,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            retries=urllib3.Retry(connect=1, read=0, redirect=0, status=0, other=0, backoff_factor=0.1),
        )

    def get(
        self,
        caller: Caller,
        service: str,
        path: str,
        query: dict[str, str] | None = None,
        permissions: Iterable[Permission] = (),
    ) -> Any:
        """The `data` of a GET; raises NotFound, Unavailable or UpstreamTimeout."""
        return self._call(caller, "GET", service, path, query, None, permissions)

    def post(
        self,
        caller: Caller,
        service: str,
        path: str,
        body: Any,
        permissions: Iterable[Permission] = (),
        key: str | None = None,
    ) -> Any:
        """The `data` of a POST, under an Idempotency-Key; raises NotFound, Unavailable or UpstreamTimeout."""
        return self._call(caller, "POST", service, path, None, body, permissions, key)

    def put(self, caller: Caller, service: str, path: str, body: Any, permissions: Iterable[Permission] = ()) -> Any:
        """The `data` of a PUT; raises NotFound, Unavailable or UpstreamTimeout."""
        return self._call(caller, "PUT", service, path, None, body, permissions)

    def delete(self, caller: Caller, service: str, path: str, permissions: Iterable[Permission] = ()) -> None:
        """DELETE; raises NotFound, Unavailable or UpstreamTimeout."""
        self._call(caller, "DELETE", service, path, None, None, permissions)

    def _call(
        self,
        caller: Caller,
        method: str,
        service: str,
        path: str,
        query: dict[str, str] | None,
        body: Any,
        permissions: Iterable[Permission],
        key: str | None = None,
    ) -> Any:
        token = mint_service_token(self._settings, caller.org_id, permissions)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "X-Request-ID": caller.request_id}
        if caller.traceparent:
            headers["traceparent"] = caller.traceparent
        if key is not None:
            headers["Idempotency-Key"] = key
        encoded = None
        if body is not None:
            encoded, headers["Content-Type"] = json.dumps(body, default=_plain).encode(), "application/json"
        try:
            answer = self._pool.request(
                method, self._settings.url_of(service) + path, fields=query, body=encoded, headers=headers
            )
        except urllib3.exceptions.ReadTimeoutError as error:
            raise UpstreamTimeout from error
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable from error
        if answer.status == 404:
            raise NotFound
        if answer.status >= 400 or len(answer.data) > MAX_ANSWER_BYTES:
            raise Unavailable
        return answer.json()["data"] if answer.data else None


def _plain(value: Any) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"no JSON form for {type(value).__name__}")
