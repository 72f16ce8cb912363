"""Every POST that changes something, sent fifty times at once under one Idempotency-Key: one effect, one answer."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from common import contracts
from common.api import Api, Endpoint
from common.database import ALL_ORGANIZATIONS
from common.permissions import PUBLIC
from tests.support.listening import listening
from tests.support.samples import MAKERS, body_of
from tests.support.scenes import BODIES, SCENES, Scene, fail_delivery, somebody_else
from tests.support.services import Person, ServiceUnderTest

AT_ONCE = 50
ASKED_BY_OTHERS = ("auth", "user", "patient", "influx")
POSTS = [
    pytest.param(service, endpoint, id=f"{service}: {endpoint.path}")
    for service in contracts.built_services()
    for endpoint in contracts.endpoints_of(service)
    if endpoint.method == "POST" and not endpoint.reads
]


@pytest.fixture(scope="module")
def services(service):
    """Every service; those that others ask listen."""
    with ExitStack() as running:
        for name in ASKED_BY_OTHERS:
            running.enter_context(listening(service(name)))
        yield service


def scene_of(services, name: str, endpoint: Endpoint) -> Scene:
    if endpoint.path in SCENES:
        return SCENES[endpoint.path](services)
    person = Person()
    ids = MAKERS[name](services(name), person)
    if endpoint.path == "/notifications/{delivery_id}/retry":
        fail_delivery(services, ids["delivery_id"], person)
    body = BODIES[endpoint.path](ids) if endpoint.path in BODIES else None
    if body is None and endpoint.body_schema is not None:
        body = body_of(endpoint.body_schema)
    return Scene(person, body, ids)


@dataclass
class Request:
    """A POST to repeat."""

    service: ServiceUnderTest
    endpoint: Endpoint
    scene: Scene
    key: str

    def send(self, request_id: str, who: Any = None, space: str = "") -> Any:
        """The answer; 503 is no answer, so one sends again, as it says."""
        path = re.sub(r"\{(\w+)\}", lambda match: self.scene.ids[match[1]], self.endpoint.path)
        headers = {"Idempotency-Key": self.key, "X-Request-ID": request_id}
        options: dict[str, Any] = {"headers": headers, "environ_base": {"REMOTE_ADDR": "192.0.2.77"}}
        if self.scene.body is not None:
            headers["Content-Type"] = "application/json"
            options["data"] = json.dumps(self.scene.body) + space
        for _ in range(30):
            answer = self.service.call("POST", path, who or self.scene.who, **options)
            if answer.status_code != 503:
                return answer
            time.sleep(0.1)
        raise AssertionError(f"{path}: busy for too long")


def newest(services) -> dict[str, int]:
    """The last outbox row of each service."""
    return {
        name: _rows(services(name), "SELECT coalesce(max(id), 0) FROM outbox")[0] for name in contracts.built_services()
    }


def effects_since(services, marks: dict[str, int]) -> list[dict[str, Any]]:
    """What all services have said since of changes: events, and audit events of more than a look."""
    query = "SELECT body FROM outbox WHERE id > :mark ORDER BY id"
    said = [json.loads(bytes(body)) for name, mark in marks.items() for body in _rows(services(name), query, mark=mark)]
    return [event for event in said if not _is_a_look(event["data"])]


def _is_a_look(data: dict[str, Any]) -> bool:
    return data.get("action", "").endswith(".read") or data.get("details", {}).get("new") is False


def _rows(service: ServiceUnderTest, query: str, **values: Any) -> list[Any]:
    with service.database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        return list(session.execute(text(query), values).scalars())


@pytest.mark.parametrize(("name", "endpoint"), POSTS)
def test_fifty_at_once_have_one_effect(services, name, endpoint):
    request = Request(services(name), endpoint, scene_of(services, name, endpoint), str(uuid4()))
    marks = newest(services)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(request.send, [f"attempt-{number}" for number in range(AT_ONCE)]))
    assert {answer.status_code for answer in answers} == {endpoint.status}, answers[0].text
    assert len({(answer.data, answer.headers.get("Location")) for answer in answers}) == 1
    if endpoint.path.endswith("/write"):
        return  # samples are the same however often they come; tests/influx_service shows that
    effects = effects_since(services, marks)
    said = [
        (event["type"], event["source"], event["data"].get("action") or event["data"].get("channel"))
        for event in effects
    ]
    attempts = {(event["source"], event["requestid"]) for event in effects}
    assert said and len(attempts) == len({source for source, _ in attempts}), f"one attempt alone has an effect: {said}"
    assert len(set(said)) == len(said), said
    if endpoint.repeatable:
        return
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    if request.scene.body is not None:
        other = request.send("other-body", space=" ")
        assert (other.status_code, other.json["error"]["id"]) == (409, "HG-CONF-001")
    if isinstance(request.scene.who, Person):
        for stranger in somebody_else(request.scene.who):
            assert "Idempotency-Replayed" not in request.send("somebody-else", stranger).headers
    assert_sealed(request, answers[0].data)


def assert_sealed(request: Request, answer: bytes) -> None:
    """Neither the key nor anything of the request or its answer can be read in the database."""
    secrets = [request.key.encode(), answer, *(str(value).encode() for value in (request.scene.body or {}).values())]
    query = "SELECT convert_to(key, 'UTF8') || fingerprint || body"
    rows = [bytes(row) for row in _rows(request.service, f"{query} FROM idempotency_keys")]
    assert rows
    assert [secret for secret in secrets for row in rows if len(secret) > 11 and secret in row] == []


def test_a_post_must_say_how_it_is_repeated():
    api = Api("test")

    def view(database):
        """Do something."""

    def careful(session):
        """Do something."""

    with pytest.raises(TypeError, match="prepare"):
        api.post("/things", permission=PUBLIC)(view)
    api.post("/things", permission=PUBLIC, reads=True)(view)
    api.post("/things", permission=PUBLIC, repeatable=True)(view)
    api.post("/things", permission=PUBLIC)(careful)
    assert [endpoint.keeps_answer for endpoint in api.endpoints] == [False, False, True]


def test_what_is_exempt_is_listed():
    """Whoever adds one says here why: it reads, or the thing itself knows that it was done."""
    exempt = {e.path for _, e in (p.values for p in POSTS) if e.repeatable}
    assert exempt == {"/timeseries/write", "/write", "/invitations/{token}/accept"}
    reading = {
        endpoint.path
        for service in contracts.built_services()
        for endpoint in contracts.endpoints_of(service)
        if endpoint.reads
    }
    assert reading == {"/timeseries/query", "/internal/alarm-ways", "/internal/care", "/internal/contacts"}
