"""The user service asks the auth service over HTTP: here it runs."""

from __future__ import annotations

import os
import threading
from uuid import uuid4

import pytest
from werkzeug.serving import make_server


@pytest.fixture(scope="session")
def auth(service):
    """The auth service, listening where the user service looks for it."""
    running = service("auth")
    server = make_server("127.0.0.1", 0, running.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    os.environ["AUTH_URL"] = f"http://127.0.0.1:{server.server_port}"
    yield running
    del os.environ["AUTH_URL"]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def colleague(auth, clinician) -> str:
    """The id of an account in the clinician's organisation that the user service has never seen."""
    account = {
        "name": "Luis Gil",
        "email": f"{uuid4()}@hospital.es",
        "password": f"{uuid4()} largo",
        "roles": ["clinician", "org_viewer"],
    }
    answer = auth.call("POST", "/auth/users", clinician, json=account)
    assert answer.status_code == 201, answer.text
    return answer.json["data"]["id"]
