"""A service that others can ask over HTTP while a test runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from werkzeug.serving import make_server

from tests.support.services import ServiceUnderTest


@contextmanager
def listening(under_test: ServiceUnderTest) -> Iterator[ServiceUnderTest]:
    """Serve it on a free port of loopback, where `<SERVICE>_URL` then leads."""
    variable = f"{under_test.name.upper()}_URL"
    server = make_server("127.0.0.1", 0, under_test.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        # Two folders' fixtures may serve one service: the older address comes back when the newer goes.
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv(variable, f"http://127.0.0.1:{server.server_port}")
            yield under_test
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
