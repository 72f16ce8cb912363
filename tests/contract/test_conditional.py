"""ETag, If-None-Match and If-Match: over every route that is declared, and between writers at once."""

from __future__ import annotations

import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from common import contracts
from common.api import Api
from common.conditional import CHANGES, find_resource
from common.fields import Schema
from common.handling import handler_of
from common.permissions import INTERNAL, PUBLIC
from tests.support.samples import MAKERS, body_of, made
from tests.support.services import Person

JSON, XML = "application/json", "application/xml"
ANA = {"name": "Ana", "birthdate": "1950-01-02", "sex": "F"}
STALE = '"000000000000000000000000-json"'
ENDPOINTS = {service: contracts.endpoints_of(service) for service in contracts.built_services()}
READS = [
    pytest.param(service, endpoint, id=f"{service}: {endpoint.path}")
    for service, endpoints in ENDPOINTS.items()
    for endpoint in endpoints
    if endpoint.reads_one
]
WRITES = [
    pytest.param(service, endpoint, id=f"{service}: {endpoint.method} {endpoint.path}")
    for service, endpoints in ENDPOINTS.items()
    for endpoint in endpoints
    if endpoint.method in CHANGES and find_resource(endpoint, endpoints)
]


@pytest.fixture(scope="module")
def owned(service):
    """Who owns one of each thing of a service, and what the paths call them."""
    known = {}

    def find(name):
        if name not in known:
            person = Person()
            samples = MAKERS[name](service(name), person)
            if name == "auth":
                role = {"code": f"r_{secrets.token_hex(4)}", "name": "Papel"}
                samples["code"] = made(service(name), person, "/auth/roles", role)["code"]
                person = replace(person, user_id=UUID(samples["user_id"]))
            known[name] = person, samples
        return known[name]

    return find


@pytest.fixture
def ana(service, clinician):
    """A patient's path and tag."""
    answer = service("patient").call("POST", "/patients", clinician, json=ANA)
    return answer.headers["Location"], answer.headers["ETag"]


def path_of(endpoint, samples):
    return re.sub(r"\{(\w+)\}", lambda match: samples[match[1]], endpoint.path)


def edit(schema, seen):
    """What was read, sent back: the fields that may be changed, and plain values for those that are not shown."""
    known = {key: value for key, value in seen.items() if key in schema.load_fields and value is not None}
    needed = {key: value for key, value in body_of(schema).items() if schema.load_fields[key].required}
    return needed | known or body_of(schema)


def test_most_services_have_resources_to_read_and_to_change():
    assert len(READS) > 30
    assert len(WRITES) > 30


@pytest.mark.parametrize(("name", "endpoint"), READS)
def test_a_resource_has_a_tag_that_stays_while_it_does(service, owned, name, endpoint):
    under_test = service(name)
    person, samples = owned(name)
    who = under_test.service_token("test", person.org_id) if endpoint.permission is INTERNAL else person
    tags = []
    for accept in (JSON, XML):
        headers = {"Accept": accept}
        first = under_test.call("GET", path_of(endpoint, samples), who, headers=headers)
        assert first.status_code == 200, first.text
        tag = first.headers["ETag"]
        headers["If-None-Match"] = f'"x", W/{tag}'
        again = under_test.call("GET", path_of(endpoint, samples), who, headers=headers)
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
        tags.append(tag)
    assert tags[0] != tags[1]


@pytest.mark.parametrize(("name", "endpoint"), WRITES)
def test_a_change_of_what_was_not_seen_is_refused(service, owned, name, endpoint):
    under_test = service(name)
    person, samples = owned(name)
    path = path_of(endpoint, samples)
    seen = under_test.call("GET", path, person)
    body = edit(endpoint.body_schema, seen.json["data"]) if endpoint.body_schema else None
    answer = under_test.call(endpoint.method, path, person, json=body, headers={"If-Match": STALE})
    assert (answer.status_code, answer.json["error"]["id"]) == (412, "HG-PRE-001"), answer.text
    assert under_test.call("GET", path, person).headers["ETag"] == seen.headers["ETag"]
    if endpoint.method != "DELETE":
        tag = under_test.call("GET", path, person, headers={"Accept": XML}).headers["ETag"]
        answer = under_test.call(endpoint.method, path, person, json=body, headers={"If-Match": tag})
        assert answer.status_code == 200, answer.text
        assert answer.headers["ETag"] == under_test.call("GET", path, person).headers["ETag"]


def test_a_creation_says_the_tag_of_what_it_made(service, clinician, ana):
    path, tag = ana
    assert service("patient").call("GET", path, clinician).headers["ETag"] == tag


def test_a_change_makes_another_tag_and_the_old_one_stale(service, clinician, ana):
    path, tag = ana
    patients = service("patient")
    changed = patients.call("PATCH", path, clinician, json={"name": "Eva"}, headers={"If-Match": f'"x", {tag}'})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag
    assert patients.call("GET", path, clinician, headers={"If-None-Match": tag}).status_code == 200
    assert patients.call("DELETE", path, clinician, headers={"If-Match": tag}).status_code == 412
    assert patients.call("DELETE", path, clinician, headers={"If-Match": changed.headers["ETag"]}).status_code == 204


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        ("*", 200),
        ("W/{tag}", 200),
        ('"{state}-xml"', 200),
        ("", 412),
        ('""', 412),
        ('W/""', 412),
        ('"x"', 412),
        ("x" * 5000, 412),
        ('"', 412),
    ],
)
def test_every_way_to_write_if_match(service, clinician, ana, if_match, status):
    path, tag = ana
    value = if_match.format(tag=tag, state=tag[1:].partition("-")[0])
    answer = service("patient").call("PATCH", path, clinician, json={"name": "Eva"}, headers={"If-Match": value})
    assert answer.status_code == status


def test_where_nothing_is_read_no_tag_matches(service, clinician, ana):
    headers = {"If-Match": ana[1]}
    assert service("patient").call("POST", "/patients", clinician, json=ANA, headers=headers).status_code == 412
    assert len(service("patient").call("GET", "/patients", clinician).json["data"]) == 1


def test_what_is_absent_or_anothers_is_404_whatever_was_seen(service, clinician, stranger, ana):
    path, tag = ana
    for who, where in ((stranger, path), (clinician, f"/patients/{uuid4()}")):
        answer = service("patient").call("PATCH", where, who, json={"name": "Eva"}, headers={"If-Match": tag})
        assert answer.status_code == 404


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_of_writers_at_once_with_one_tag_exactly_one_succeeds(service, clinician, ana, method):
    path, tag = ana
    patients = service("patient")
    for _ in range(10):
        start = Barrier(4)

        def write(number, start=start, tag=tag):
            start.wait()
            body = {"name": f"Ana {number} {tag[1:9]}"} if method == "PATCH" else None
            return patients.call(method, path, clinician, json=body, headers={"If-Match": tag})

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(write, range(4)))
        statuses = sorted(answer.status_code for answer in answers)
        if method == "DELETE":
            assert statuses == [204, 404, 404, 404]
            return
        assert statuses == [200, 412, 412, 412]
        (won,) = (answer for answer in answers if answer.status_code == 200)
        assert patients.call("GET", path, clinician).json == won.json
        tag = won.headers["ETag"]


def test_a_row_that_changed_on_another_path_meanwhile_is_not_overwritten(service, clinician, ana):
    """The lock is the path's; the row's version holds against whoever comes another way."""
    path, tag = ana
    patients = service("patient")
    change = "UPDATE patients SET name = 'Otra', version = version + 1 WHERE id = :id"
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND state = 'active'"
        " AND usename = current_user AND query LIKE 'UPDATE patients%'"
    )
    headers = {"If-Match": tag}
    with ThreadPoolExecutor(1) as pool, patients.database.transaction(clinician.org_id, technical=True) as session:
        session.execute(text(change), {"id": path.rpartition("/")[2]})
        slow = pool.submit(patients.call, "PATCH", path, clinician, json={"name": "Eva"}, headers=headers)
        while not session.execute(text(waiting)).scalar() and not slow.done():
            session.execute(text("SELECT pg_stat_clear_snapshot()"))
    assert slow.result().status_code == 412
    assert patients.call("GET", path, clinician).json["data"]["name"] == "Otra"


def test_a_change_that_opens_its_own_transaction_must_hold_the_precondition():
    api = Api("things")
    api.get("/things/{thing_id}", permission=PUBLIC, returns=Schema)(_view(lambda session, thing_id: {}))
    api.put("/things/{thing_id}", permission=PUBLIC, returns=Schema)(_view(lambda database, thing_id: {}))
    read, change = api.endpoints
    with pytest.raises(TypeError, match="precondition"):
        handler_of(change, find_resource(change, api.endpoints))
    assert find_resource(read, api.endpoints) is read


def _view(function):
    function.__doc__ = "A thing."
    return function
