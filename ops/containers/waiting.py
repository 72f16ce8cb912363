"""Waiting until containers are as they should be, and saying why when they are not."""

from __future__ import annotations

import time
from http import HTTPStatus

from ops.containers.compose import Compose, ComposeError
from ops.native.applications import fetch
from ops.native.console import Progress

READY_TIMEOUT_S = 180


def wait_healthy(compose: Compose, progress: Progress, names: set[str] | None = None) -> None:
    """Return when all (or the named) containers are healthy; raises ComposeError with the logs of those that fail."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        chosen = [item for item in compose.containers() if names is None or item.service in names]
        waiting = [item for item in chosen if not item.is_done]
        progress.show(len(chosen) - len(waiting), len(chosen), [item.service for item in waiting])
        if not waiting:
            return
        failed = [item for item in waiting if item.has_failed]
        if failed or time.monotonic() > deadline:
            raise ComposeError("\n\n".join(diagnosis(compose, item.service) for item in (failed or waiting)[:3]))
        time.sleep(0.5)


def diagnosis(compose: Compose, service: str) -> str:
    """Why a container is not healthy: the end of its log."""
    return f"{service} is not healthy. The end of its log:\n{compose.run('logs', '--no-color', '--tail=15', service)}"


def wait_gateway(host: str, port: int, timeout: float = 60) -> None:
    """Return when `/gateway/health` answers 200: every service is ready for it."""
    deadline = time.monotonic() + timeout
    while True:
        status, body = fetch(host, port, "/gateway/health", timeout=5, most=4000)
        if status == HTTPStatus.OK:
            return
        if time.monotonic() > deadline:
            raise ComposeError(f"the gateway is not ready: {status} {body}")
        time.sleep(0.5)
