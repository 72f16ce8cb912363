"""Start granian as the gateway needs it: `python -m gateway.serve`. Port and sizes come from the settings."""

from __future__ import annotations

import os

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from common.config import SERVICE_PORTS
from gateway.config import GatewaySettings

# A connection that has not sent its head within this time is closed; an idle one too.
_HEAD_TIMEOUT_MS = 10_000


def main() -> None:
    """Serve until SIGTERM, which lets running requests end; SIGHUP starts the workers anew, each before its old one."""
    given = dict(os.environ)
    settings = GatewaySettings.load("gateway")
    address = os.environ.get("GATEWAY_HOST", "127.0.0.1")
    port = int(os.environ.get("GATEWAY_PORT", SERVICE_PORTS["gateway"]))
    # A worker that starts after `.env` changed must find its new values, not those this process read.
    for name in os.environ.keys() - given.keys():
        del os.environ[name]
    Granian(
        "gateway.app:app",
        address=address,
        port=port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=settings.workers,
        blocking_threads=settings.threads,
        # Half-open and idle connections cost a task in Rust, not a thread: many may wait.
        backlog=2048,
        backpressure=4096,
        http1_settings=HTTP1Settings(header_read_timeout=_HEAD_TIMEOUT_MS, max_buffer_size=64 * 1024),
        respawn_failed_workers=True,
        log_level=LogLevels.warning,
    ).serve()


if __name__ == "__main__":
    main()
