"""Bad requests get the contract's error in the format asked for: no traceback, no 500, nothing kept."""

from __future__ import annotations

import time
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from common import contracts
from common.config import Settings
from tests.support.services import ALL_PERMISSIONS, Person

JSON, XML = "application/json", "application/xml"
ANA = '{"name": "Ana", "birthdate": "1950-01-02", "sex": "F"}'
DTD = '<!DOCTYPE x [<!ENTITY a "b">]><x><name>&a;</name></x>'


def problem(answer, media_type):
    assert answer.headers["Content-Type"].startswith(media_type)
    assert "Traceback" not in answer.text
    if media_type == JSON:
        assert answer.json["status"] == "error"
        return answer.json["error"]["id"]
    root = ElementTree.fromstring(answer.text)
    assert (root.tag, root.findtext("status"), root.findtext("code")) == ("response", "error", str(answer.status_code))
    return root.findtext("error/id")


BAD_BODIES = {
    "unknown field": (JSON, ANA.replace("}", ', "org_id": "x"}'), 400, "HG-VAL-001"),
    "not an object": (JSON, "[]", 400, "HG-VAL-001"),
    "broken json": (JSON, "{", 400, "HG-VAL-002"),
    "two mebibytes": (JSON, '{"name": "' + "a" * 2 * 1024 * 1024 + '"}', 413, "HG-SIZE-001"),
    "a thousand brackets": (JSON, "[" * 1000 + "]" * 1000, 400, "HG-VAL-002"),
    "a null character": (JSON, ANA.replace("Ana", "A\\u0000"), 400, "HG-VAL-002"),
    "a dtd": (XML, DTD, 400, "HG-VAL-002"),
    "deep xml": (XML, "<x>" * 1000 + "</x>" * 1000, 400, "HG-VAL-002"),
    "other content type": ("text/csv", "a,b", 415, "HG-TYPE-001"),
    "no body": (JSON, "", 400, "HG-VAL-002"),
}


@pytest.mark.parametrize("accept", [JSON, XML])
@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body(service, clinician, name, accept):
    content_type, body, status, error_id = BAD_BODIES[name]
    patients = service("patient")
    headers = {"Content-Type": content_type, "Accept": accept}
    answer = patients.call("POST", "/patients", clinician, data=body, headers=headers)
    assert (answer.status_code, problem(answer, accept)) == (status, error_id)
    assert patients.outbox(org_id=clinician.org_id) == []


@pytest.mark.parametrize("accept", [JSON, XML])
def test_no_token_a_bad_token_and_a_missing_permission(service, clinician, accept):
    patients, headers = service("patient"), {"Accept": accept}
    for who, status, error_id in (
        (None, 401, "HG-AUTH-001"),
        ("abc", 401, "HG-AUTH-001"),
        (replace(clinician, permissions=ALL_PERMISSIONS - {"patient:read"}), 403, "HG-PERM-001"),
    ):
        answer = patients.call("GET", "/patients", who, headers=headers)
        assert (answer.status_code, problem(answer, accept)) == (status, error_id)
    assert "Bearer" in patients.call("GET", "/patients", "abc").headers["WWW-Authenticate"]


def test_a_chunked_body_is_refused_not_truncated(service, clinician):
    headers = {"Transfer-Encoding": "chunked", "Content-Type": JSON}
    answer = service("patient").call("POST", "/patients", clinician, headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", JSON),
        ("text/xml", XML),
        ("application/xml;q=0.9, application/json;q=0.5", XML),
        ("application/xml;q=0.1, application/json", JSON),
        ("text/html, */*;q=0.1", JSON),
    ],
)
def test_the_format_is_negotiated(service, clinician, accept, expected):
    answer = service("patient").call("GET", "/patients", clinician, headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith(expected)


def test_nothing_acceptable_is_406(service, clinician):
    answer = service("patient").call("GET", "/patients", clinician, headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json["error"]["id"]) == (406, "HG-ACC-001")


def test_problem_details_carry_the_same_facts(service):
    answer = service("patient").call("GET", "/patients", headers={"Accept": "application/problem+json"})
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert (answer.json["status"], answer.json["id"]) == (401, "HG-AUTH-001")


def test_messages_follow_accept_language(service):
    spanish = service("patient").call("GET", "/patients").json["error"]["message"]
    english = service("patient").call("GET", "/patients", headers={"Accept-Language": "en-GB"}).json["error"]["message"]
    assert "Inicie sesión" in spanish
    assert "Log in" in english


@pytest.mark.parametrize(
    ("sent", "kept"), [("abcdefgh", True), ("a" * 129, False), ("short", False), ("a b c d e f", False)]
)
def test_the_request_id_is_kept_when_it_is_clean(service, sent, kept):
    answer = service("patient").client.get("/health", headers={"X-Request-ID": sent})
    assert (answer.headers["X-Request-ID"] == sent) is kept


@pytest.mark.parametrize(
    ("peer", "claimed", "kept"),
    [
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("::1", "2001:DB8::7", "2001:db8::7"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "10.0.0.1, 203.0.113.7", "127.0.0.1"),
        ("127.0.0.1", "nobody", "127.0.0.1"),
        ("127.0.0.1", "fe80::1%" + "a" * 100, "127.0.0.1"),
        ("198.51.100.9", "203.0.113.7", "198.51.100.9"),
        ("unix", "203.0.113.7", "unix"),
    ],
)
def test_the_trail_names_the_client_that_a_trusted_peer_names(service, clinician, peer, claimed, kept):
    headers = {"Content-Type": JSON} | ({"X-Forwarded-For": claimed} if claimed else {})
    environ = {"REMOTE_ADDR": peer}
    patients = service("patient")
    answer = patients.call("POST", "/patients", clinician, data=ANA, headers=headers, environ_overrides=environ)
    assert answer.status_code == 201
    assert [event["data"]["ip"] for event in patients.outbox("audit.log", clinician.org_id)] == [kept]


@pytest.mark.parametrize(
    ("networks", "peer", "trusted"),
    [
        ("10.1.0.0/16,::1", "10.1.2.3", True),
        ("10.1.0.0/16,::1", "127.0.0.1", False),
        ("10.1.0.0/16,::1", "::1", True),
        ("", "127.0.0.1", False),
    ],
)
def test_trusted_proxies_are_addresses_and_networks(servers, monkeypatch, networks, peer, trusted):
    monkeypatch.setenv("TRUSTED_PROXIES", networks)
    assert Settings.load("patient").trusts(peer) is trusted


def test_a_malformed_trusted_proxy_stops_the_start(servers, monkeypatch, capsys):
    monkeypatch.setenv("TRUSTED_PROXIES", "127.0.0.1,10.1.2.3/16")
    with pytest.raises(SystemExit, match="78"):
        Settings.load("patient")
    assert "TRUSTED_PROXIES: 10.1.2.3/16 has host bits set." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("deadline", "status"),
    [
        (lambda now: now - 1, 503),
        (lambda now: 0, 503),
        (lambda now: now + 60_000, 201),
        (lambda now: f"-{now}", 201),
        (lambda now: "soon", 201),
        (lambda now: "0" * 5000, 201),
    ],
)
def test_nothing_is_done_past_the_deadline(service, clinician, deadline, status):
    patients = service("patient")
    headers = {"Content-Type": JSON, "X-Deadline": str(deadline(int(time.time() * 1000)))}
    answer = patients.call("POST", "/patients", clinician, data=ANA, headers=headers)
    assert answer.status_code == status
    assert bool(patients.outbox(org_id=clinician.org_id)) is (status == 201)
    if status == 503:
        assert (problem(answer, JSON), answer.headers["Retry-After"]) == ("HG-SRV-002", "1")


@pytest.mark.parametrize("name", contracts.built_services())
def test_probes_answer_in_both_formats(service, name):
    for path in ("/health", "/ready"):
        assert service(name).client.get(path).json["data"]["state"] == "up"
        root = ElementTree.fromstring(service(name).client.get(path, headers={"Accept": XML}).text)
        assert root.findtext("status") == "success"
    assert "heartguard_" in service(name).client.get("/metrics").text


def test_an_organization_is_named_by_a_superadmin_only(service, clinician, stranger):
    patients = service("patient")
    patients.call("POST", "/patients", clinician, data=ANA, headers={"Content-Type": JSON})
    path = f"/patients?org_id={clinician.org_id}"
    assert patients.call("GET", path, stranger).status_code == 404
    superadmin = Person(org_id=None, roles=("superadmin",))
    assert len(patients.call("GET", path, superadmin).json["data"]) == 1
    assert patients.call("GET", "/patients", superadmin).status_code == 400
