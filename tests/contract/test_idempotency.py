"""Idempotency-Key: one effect for one key, the first answer replayed, another request under the same key refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

ANA = {"name": "Ana", "birthdate": "1950-01-02", "sex": "F"}


@pytest.fixture
def patients(service):
    return service("patient")


def register(patients, person, key, body=ANA, **headers):
    return patients.call("POST", "/patients", person, json=body, headers={"Idempotency-Key": key, **headers})


def count(patients, person):
    return len(patients.call("GET", "/patients", person).json["data"])


def test_the_same_request_replays_the_first_answer(patients, clinician):
    key = str(uuid4())
    first, second = register(patients, clinician, key), register(patients, clinician, key)
    assert (first.status_code, first.json, first.headers["Location"]) == (
        second.status_code,
        second.json,
        second.headers["Location"],
    )
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert count(patients, clinician) == 1
    assert patients.audited(clinician.org_id).count("patient.registered") == 1


def test_another_body_under_the_same_key_is_a_conflict(patients, clinician):
    key = str(uuid4())
    register(patients, clinician, key)
    answer = register(patients, clinician, key, ANA | {"name": "Otra"})
    assert (answer.status_code, answer.json["error"]["id"]) == (409, "HG-CONF-001")
    assert count(patients, clinician) == 1


def test_keys_are_each_callers_own(patients, clinician, stranger):
    key = str(uuid4())
    first, second = register(patients, clinician, key), register(patients, stranger, key)
    assert first.json["data"]["id"] != second.json["data"]["id"]


def test_a_refused_request_leaves_the_key_free(patients, clinician):
    key = str(uuid4())
    assert register(patients, clinician, key, {"name": ""}).status_code == 400
    assert register(patients, clinician, key).status_code == 201


def test_twenty_at_once_have_one_effect(patients, clinician):
    key = str(uuid4())
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: register(patients, clinician, key), range(20)))
    created = {answer.json["data"]["id"] for answer in answers if answer.status_code == 201}
    assert len(created) == 1
    assert {answer.status_code for answer in answers} <= {201, 503}
    assert count(patients, clinician) == 1


@pytest.mark.parametrize("key", ["short", "x" * 256, "with space"])
def test_a_malformed_key_is_refused(patients, clinician, key):
    assert register(patients, clinician, key).status_code == 400
