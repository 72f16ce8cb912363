"""A real gateway under granian, with a real Redis, in front of scripted services."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from gateway import access_log
from tests.gateway.stage import INTERNAL_KEY, ORIGIN, PATIENT, USER, Gateway, answer, bearer, raw, token

ALARM = "/alerts/0198b7a2-5c1e-7c44-9a51-3d2f4b6a7c88/ack"


def request_lines(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


# --- the way ---


def test_a_request_reaches_its_service_and_comes_back(gateway, services):
    services["patient"].behave = answer(b'{"a":1}', "201 Created", ("Location: /patients/1", "ETag: W/abc"))
    given = gateway.ask("POST", "/patients?org_id=1&q=%2F", bearer() | {"Content-Type": "text/xml"}, b"<a/>")
    (seen,) = services["patient"].received
    assert (given.status, given.body) == (201, b'{"a":1}')
    assert (given.headers["Location"], given.headers["ETag"]) == ("/patients/1", "W/abc")
    assert given.headers["Content-Length"] == "7"
    assert (seen.method, seen.target, seen.body) == ("POST", "/patients?org_id=1&q=%2F", b"<a/>")
    assert seen.headers["content-type"] == "text/xml"
    assert seen.headers["authorization"].startswith("Bearer ")


def test_the_request_id_is_kept_when_it_is_one(gateway, services):
    given = gateway.ask("GET", "/patients", bearer() | {"X-Request-ID": "a.request-id_1"})
    assert given.headers["X-Request-ID"] == services["patient"].received[0].headers["x-request-id"] == "a.request-id_1"
    given = gateway.ask("GET", "/patients", bearer() | {"X-Request-ID": "../<script>"})
    assert re.fullmatch(r"[0-9a-f-]{36}", given.headers["X-Request-ID"])
    assert given.headers["X-Request-ID"] == services["patient"].received[1].headers["x-request-id"]


def test_head_is_forwarded_without_a_body(gateway, services):
    services["patient"].behave = answer(b"x" * 77)
    given = gateway.ask("HEAD", "/patients", bearer())
    assert (given.status, given.body, given.headers["Content-Length"]) == (200, b"", "77")
    assert services["patient"].received[0].method == "HEAD"


def test_the_deadline_goes_with_the_request(gateway, services):
    gateway.ask("GET", "/patients", bearer() | {"X-Deadline": "1"})
    left = int(services["patient"].received[0].headers["x-deadline"]) / 1000 - time.time()
    assert 1.0 < left <= 2.5


def test_a_dtd_is_the_services_matter(gateway, services):
    bomb = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
    assert gateway.ask("POST", "/patients", bearer() | {"Content-Type": "application/xml"}, bomb).status == 200
    assert services["patient"].received[0].body == bomb


# --- headers ---

FORGED = {
    "X-User-Id": "1",
    "X-User-Roles": "superadmin",
    "x_user_id": "1",
    "X-Org-Id": "1",
    "X-Forwarded-For": "10.0.0.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-User": "root",
    "Forwarded": "for=10.0.0.1",
    "X-Real-IP": "10.0.0.1",
    "Proxy": "http://evil",
    "Proxy-Authorization": "Basic eDp5",
    "Connection": "keep-alive, X-Hop, Authorization-Hint",
    "X-Hop": "1",
    "Authorization-Hint": "1",
    "Keep-Alive": "300",
    "TE": "trailers",
    "Trailer": "X-T",
    "Upgrade": "h2c",
    "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
    "Content_Length": "5",
    "Transfer_Encoding_": "x",
    "Expect": "100-continue",
}


def test_forged_and_hop_by_hop_headers_stay_outside(gateway, services):
    given = gateway.ask("GET", "/patients", bearer() | FORGED | {"X-Kept": "yes", "Accept-Language": "en"})
    assert given.status == 200
    (seen,) = services["patient"].received
    assert seen.headers.pop("x-forwarded-for") == "127.0.0.1"
    assert seen.headers.pop("x-forwarded-proto") == "http"
    assert seen.headers.pop("x-forwarded-host") == f"127.0.0.1:{gateway.port}"
    assert (seen.headers.pop("x-kept"), seen.headers.pop("accept-language")) == ("yes", "en")
    expected = {"host", "authorization", "accept-encoding", "x-request-id", "x-deadline", "transfer-encoding-"}
    assert set(seen.headers) == expected
    assert seen.headers["host"].startswith("127.0.0.1:")


def test_the_environment_is_not_sent_as_headers(new_gateway, services):
    gateway = new_gateway(HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9", HTTP_SECRET="s")
    assert gateway.ask("GET", "/patients", bearer()).status == 200
    assert not {"proxy", "secret"} & set(services["patient"].received[0].headers)


def test_one_trusted_proxy_names_the_client(new_gateway, services):
    gateway = new_gateway(TRUSTED_PROXY_HOPS="1", RATE_LIMITS_IP="read=3")
    for _ in range(3):
        gateway.ask("GET", "/patients", bearer() | {"X-Forwarded-For": "10.9.9.9, 203.0.113.77"})
    assert services["patient"].received[0].headers["x-forwarded-for"] == "203.0.113.77"
    refused = gateway.ask("GET", "/patients", bearer() | {"X-Forwarded-For": "10.8.8.8, 203.0.113.77"})
    assert (refused.status, refused.error_id) == (429, "HG-RATE-001")
    assert gateway.ask("GET", "/patients", bearer() | {"X-Forwarded-For": "203.0.113.78"}).status == 200
    gateway.ask("GET", "/patients", bearer() | {"X-Forwarded-For": "not an address"})
    assert services["patient"].received[-1].headers["x-forwarded-for"] == "127.0.0.1"


SMUGGLED = [
    request_lines("GET", "/patients", "{auth}", "X-A: 1\rX-User-Id: 1"),
    request_lines("GET", "/patients", "{auth}", "X-A: 1\x00"),
    request_lines("GET", "/patients", "{auth}", "X-A: 1", " X-User-Id: 1"),
    request_lines("GET", "/patients", "{auth}", "X-User-Id : 1"),
    request_lines("POST", "/patients", "{auth}", "Content-Length: 2", "Content-Length: 3", body=b"{}x"),
    request_lines("POST", "/patients", "{auth}", "Content-Length: +2", body=b"{}"),
    request_lines("POST", "/patients", "{auth}", "Content-Length: 2, 2", body=b"{}"),
    request_lines("POST", "/patients", "{auth}", "Content-Length: 4", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    request_lines("POST", "/patients", "{auth}", "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
    request_lines("POST", "/patients", "{auth}", "Transfer-Encoding: xchunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
    request_lines("POST", "/patients", "{auth}", "Transfer-Encoding: chunked, identity", body=b"2\r\n{}\r\n0\r\n\r\n"),
]


@pytest.mark.parametrize("number", range(len(SMUGGLED)))
def test_what_two_parsers_could_read_differently_does_not_pass(gateway, services, number):
    data = SMUGGLED[number].replace(b"{auth}", f"Authorization: Bearer {token()}".encode())
    status = int(gateway.send_raw(data).split(b" ", 2)[1])
    assert status in (400, 411, 413, 501)
    assert services["patient"].received == []


# --- paths ---


@pytest.mark.parametrize(
    "target",
    [
        "/patients/..%2fauth/me",
        "/patients/../auth/me",
        "/patients/%2e%2e/auth/me",
        "/patients/%252e%252e/auth/me",
        "/patients/..%5cauth",
        "/patients%2f..%2fauth%2fme",
        "//auth/me",
        "/patients//export",
        "/patients/",
        f"{PATIENT}/..%2f..%2fauth/me",
        f"{PATIENT}%00",
        f"{PATIENT}%0d%0aX-User-Id:%201",
        f"{PATIENT}%3fadmin=1",
        f"{PATIENT}%23",
        f"{PATIENT};a=b",
        "/media/%ff",
        "/internal/revocations/x",
        "/nothing",
        "/auth/users",
    ],
)
def test_a_path_nobody_declared_is_not_found(gateway, services, target):
    given = gateway.ask("GET", target, bearer())
    assert (given.status, given.error_id) == (404, "HG-NF-001")
    assert not any(service.received for service in services.values())


def test_an_absolute_target_is_only_a_path(gateway, services):
    data = request_lines("GET", "http://169.254.169.254/patients", f"Authorization: Bearer {token()}")
    assert gateway.send_raw(data, wait=0.5).startswith(b"HTTP/1.1 200")
    assert services["patient"].received[0].target == "/patients"


def test_a_wrong_method_names_the_right_ones(gateway):
    given = gateway.ask("PATCH", PATIENT, bearer())
    assert (given.status, given.error_id, given.headers["Allow"]) == (
        405,
        "HG-MTD-001",
        "DELETE, GET, HEAD, OPTIONS, PUT",
    )


# --- identity ---


def unsigned() -> str:
    head, body, _ = token().split(".")
    none = "eyJhbGciOiJub25lIiwia2lkIjoidGVzdCIsInR5cCI6IkpXVCJ9"
    assert head != none
    return f"{none}.{body}."


REFUSED_TOKENS = {
    "none": lambda: "",
    "garbage": lambda: "a.b.c",
    "unsigned": unsigned,
    "another algorithm": lambda: token(algorithm="HS512"),
    "another key": lambda: token(key="x" * 64),
    "an unknown kid": lambda: token(kid="other"),
    "another audience": lambda: token(aud="else"),
    "two audiences": lambda: token(aud=["heartguard", "else"]),
    "another issuer": lambda: token(iss="else"),
    "a refresh token": lambda: token(typ="refresh"),
    "no type": lambda: token(typ=None),
    "no expiry": lambda: token(exp=None),
    "no id": lambda: token(jti=None),
    "no subject": lambda: token(sub=None),
    "no issue time": lambda: token(iat=None),
    "issued tomorrow": lambda: token(iat=time.time() + 86_400),
    "internal": lambda: token(key=INTERNAL_KEY, kid="internal", aud="heartguard-internal", typ="service"),
    "internal, signed with the public ring": lambda: token(aud="heartguard-internal", typ="service"),
    "public, signed with the internal ring": lambda: token(key=INTERNAL_KEY, kid="internal"),
    "tampered": lambda: token()[:-4] + "AAAA",
    "two tokens": lambda: f"{token()}, Bearer {token()}",
}


@pytest.mark.parametrize("kind", REFUSED_TOKENS)
def test_a_bad_token_is_refused(gateway, services, kind):
    given = gateway.ask("GET", "/patients", {"Authorization": f"Bearer {REFUSED_TOKENS[kind]()}"})
    assert (given.status, given.error_id) == (401, "HG-AUTH-001")
    assert given.headers["WWW-Authenticate"].startswith("Bearer")
    assert services["patient"].received == []


@pytest.mark.parametrize("value", [None, "", "Bearer", "Basic dTpw", "bearer"])
def test_a_missing_token_is_refused(gateway, value):
    headers = {} if value is None else {"Authorization": value}
    assert gateway.ask("GET", "/patients", headers).error_id == "HG-AUTH-001"


def test_an_expired_token_says_so(gateway):
    given = gateway.ask("GET", "/patients", bearer(exp=int(time.time()) - 1, iat=time.time() - 900))
    assert (given.status, given.error_id) == (401, "HG-AUTH-002")


def test_a_token_that_was_cached_still_expires(gateway):
    headers = bearer(exp=int(time.time()) + 2)
    assert gateway.ask("GET", "/patients", headers).status == 200
    time.sleep(2.1)
    assert gateway.ask("GET", "/patients", headers).error_id == "HG-AUTH-002"


def test_tokens_that_share_a_beginning_are_not_mixed_up(gateway):
    good = token()
    assert gateway.ask("GET", "/patients", {"Authorization": f"Bearer {good}"}).status == 200
    assert gateway.ask("GET", "/patients", {"Authorization": f"Bearer {good[:-1]}"}).status == 401
    assert gateway.ask("GET", "/patients", {"Authorization": f"Bearer {good}A"}).status == 401


def test_a_missing_permission_is_forbidden(gateway, services):
    given = gateway.ask("GET", "/patients", bearer(permissions=["patient:write", "patient:rea", "patient:reads"]))
    assert (given.status, given.error_id) == (403, "HG-PERM-001")
    assert services["patient"].received == []


def test_authenticated_asks_for_no_permission_and_public_for_nothing(gateway, services):
    assert gateway.ask("GET", "/auth/me", bearer(permissions=[])).status == 200
    assert gateway.ask("GET", "/auth/me").status == 401
    assert gateway.ask("POST", "/auth/login", {"Content-Type": "application/json"}, b"{}").status == 200


def test_guessing_tokens_is_limited(new_gateway):
    gateway = new_gateway(RATE_LIMITS_IP="read=5", TRUSTED_PROXY_HOPS="1")
    headers = {"Authorization": "Bearer a.b.c", "X-Forwarded-For": "203.0.113.99"}
    assert [gateway.ask("GET", "/patients", headers).status for _ in range(7)] == [401] * 5 + [429] * 2


# --- errors in the form asked for ---


@pytest.mark.parametrize(
    ("accept", "kind", "found"),
    [
        (None, "application/json", b'"code":404'),
        ("application/json", "application/json", b'"id":"HG-NF-001"'),
        ("application/xml", "application/xml", b"<code>404</code>"),
        ("text/xml", "application/xml", b"<id>HG-NF-001</id>"),
        ("application/problem+json", "application/problem+json", b'"status":404'),
        ("application/problem+xml", "application/problem+xml", b"<status>404</status>"),
    ],
)
def test_an_error_comes_in_the_form_asked_for(gateway, accept, kind, found):
    given = gateway.ask("GET", "/nothing", {"Accept": accept} if accept else {})
    assert given.headers["Content-Type"].startswith(kind)
    assert found in given.body
    assert given.headers["X-Request-ID"].encode() in given.body


def test_an_error_speaks_the_readers_language(gateway):
    assert "No existe" in gateway.ask("GET", "/nothing").body.decode()
    assert "does not exist" in gateway.ask("GET", "/nothing", {"Accept-Language": "en"}).body.decode()


# --- bodies ---


def test_two_mebibytes_are_too_much(gateway, services):
    head = request_lines("POST", "/patients", f"Authorization: Bearer {token()}", f"Content-Length: {2 * 1024 * 1024}")
    assert gateway.send_raw(head).startswith(b"HTTP/1.1 413")
    assert services["patient"].received == []


def test_a_route_may_take_more(gateway, services):
    body = os.urandom(3 * 1024 * 1024)
    given = gateway.ask("POST", "/media", bearer() | {"Content-Type": "multipart/form-data; boundary=x"}, body)
    assert given.status == 200
    assert services["media"].received[0].body == body


def test_a_body_in_a_get_is_refused(gateway, services):
    assert gateway.ask("GET", "/patients", bearer(), b"{}").error_id == "HG-VAL-002"
    assert services["patient"].received == []


@pytest.mark.parametrize("target", ["/patients", "/media"])
def test_a_body_that_breaks_off_never_reaches_a_service_as_whole(gateway, services, target):
    with gateway.connect() as peer:
        head = (f"Authorization: Bearer {token()}", "Content-Length: 200000")
        peer.sendall(request_lines("POST", target, *head, body=b"x" * 1000))
        time.sleep(0.2)
    time.sleep(0.3)
    assert all(len(request.body) < 200_000 for request in services["media"].received)
    assert services["patient"].received == []
    assert gateway.ask("GET", "/patients", bearer()).status == 200


def test_expect_100_is_answered_here(gateway, services):
    data = request_lines(
        "POST", "/patients", f"Authorization: Bearer {token()}", "Content-Length: 2", "Expect: 100-continue", body=b"{}"
    )
    received = gateway.send_raw(data, wait=0.5)
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    assert services["patient"].received[0].body == b"{}"


def test_a_large_answer_arrives_whole(gateway, services):
    body = os.urandom(5 * 1024 * 1024)
    services["media"].behave = services["patient"].behave = answer(body)
    assert gateway.ask("GET", "/media/film.mp4", bearer()).body == body
    assert gateway.ask("GET", "/patients", bearer()).body == body


def test_a_stream_starts_before_it_ends(gateway, services):
    def slowly(peer, _request):
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        time.sleep(1)
        peer.sendall(b"other")
        return True

    services["media"].behave = slowly
    with gateway.connect() as peer:
        started = time.monotonic()
        peer.sendall(request_lines("GET", "/media/x", f"Authorization: Bearer {token()}"))
        received = b""
        while b"first" not in received:
            received += peer.recv(4096)
        assert time.monotonic() - started < 0.8
        while not received.endswith(b"other"):
            received += peer.recv(4096)


def test_a_stream_that_breaks_is_seen_to_break(gateway, services):
    services["media"].behave = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    received = gateway.send_raw(request_lines("GET", "/media/x", f"Authorization: Bearer {token()}"))
    head, _, body = received.partition(b"\r\n\r\n")
    broken_off = b"content-length: 100" in head.lower() and len(body) < 100
    assert broken_off or head.startswith(b"HTTP/1.1 502")


def test_an_export_of_unknown_length_that_breaks_is_an_error(gateway, services):
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    services["patient"].behave = raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 1000)
    given = gateway.ask("GET", f"{PATIENT}/export", bearer())
    assert (given.status, given.error_id) == (502, "HG-GW-001")


# --- services that fail ---


def test_a_bad_answer_is_502_and_a_slow_one_504(gateway, services):
    services["patient"].behave = raw(b"garbage")
    assert gateway.ask("POST", "/patients", bearer(), b"{}").error_id == "HG-GW-001"
    services["patient"].behave = raw(b"", pause=3)
    started = time.monotonic()
    given = gateway.ask("GET", "/patients", bearer())
    assert (given.status, given.error_id) == (504, "HG-GW-002")
    assert time.monotonic() - started < 2.7


def test_a_service_that_is_away_is_503_at_once(gateway):
    started = time.monotonic()
    given = gateway.ask("GET", "/gateway/health")
    assert given.status == 503  # most services have no scripted stand-in
    assert time.monotonic() - started < 1.5


def test_a_broken_service_is_left_alone_and_tried_again(new_gateway, services):
    gateway = new_gateway(GATEWAY_BREAKER_PAUSE="1")
    services["device"].behave = raw(b"")
    for _ in range(5):
        assert gateway.ask("POST", "/devices", bearer(), b"{}").status == 502
    started = time.monotonic()
    given = gateway.ask("GET", "/devices", bearer())
    assert (given.status, given.error_id, given.headers["Retry-After"]) == (503, "HG-SRV-002", "1")
    assert time.monotonic() - started < 0.05
    assert len(services["device"].received) == 5
    services["device"].behave = answer()
    time.sleep(1.1)
    assert gateway.ask("GET", "/devices", bearer()).status == 200
    assert [line["event"] for line in gateway.log_lines("breaker.open")] == ["breaker.open"]
    assert [line["upstream"] for line in gateway.log_lines("breaker.closed")] == ["device"]


# --- Redis away ---


def test_without_redis_and_auth_the_door_stays_shut_but_login_is_open(new_gateway, services):
    services["auth"].behave = answer(b"", "500 Oops")
    gateway = new_gateway(REDIS_URL="redis://127.0.0.1:1/0")
    given = gateway.ask("GET", "/patients", bearer())
    assert (given.status, given.error_id) == (503, "HG-SRV-002")
    services["auth"].behave = answer()
    assert gateway.ask("POST", "/auth/login", {}, b"{}").status == 200
    assert len(gateway.log_lines("redis.away")) == 1


def test_without_redis_auth_decides_over_revocation(new_gateway, services):
    def decide(peer, request):
        revoked = "bad-token" in request.target
        return answer(json.dumps({"status": "success", "data": {"revoked": revoked}}).encode())(peer, request)

    services["auth"].behave = decide
    gateway = new_gateway(REDIS_URL="redis://127.0.0.1:1/0")
    assert gateway.ask("GET", "/patients", bearer(jti="good-token")).status == 200
    assert gateway.ask("GET", "/patients", bearer(jti="bad-token")).status == 401
    question = services["auth"].received[0]
    assert question.target.startswith("/internal/revocations/good-token?session_id=")
    assert f"subject={USER}" in question.target
    assert "issued_at=" in question.target


# --- CORS ---


def test_an_allowed_origin_may_read(gateway):
    given = gateway.ask("GET", "/patients", bearer() | {"Origin": ORIGIN})
    assert given.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "X-Request-ID" in given.headers["Access-Control-Expose-Headers"]
    assert "Origin" in given.headers.get_all("Vary")
    refused = gateway.ask("GET", "/nothing", {"Origin": ORIGIN})
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN, "an error can be read too"


@pytest.mark.parametrize("origin", ["https://evil.example", ORIGIN + ".evil.example", "null", ORIGIN.upper(), "*"])
def test_another_origin_may_not(gateway, origin):
    given = gateway.ask("GET", "/patients", bearer() | {"Origin": origin})
    assert "Access-Control-Allow-Origin" not in given.headers


def test_preflight_is_answered_without_a_token(gateway, services):
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
    given = gateway.ask("OPTIONS", PATIENT, asked)
    assert given.status == 204
    assert given.headers["Access-Control-Allow-Methods"] == "DELETE, GET, HEAD, OPTIONS, PUT"
    assert "Authorization" in given.headers["Access-Control-Allow-Headers"]
    assert gateway.ask("OPTIONS", "/nothing", asked).status == 404
    assert "Access-Control-Allow-Methods" not in gateway.ask("OPTIONS", PATIENT, {"Origin": "https://evil"}).headers
    assert services["patient"].received == []


# --- what operators see ---


def test_a_log_line_names_the_route_and_never_an_id_or_a_token(gateway, services):
    secret = token()
    request_id = f"canary-{time.time_ns()}"
    canary = {"Authorization": f"Bearer {secret}", "X-Request-ID": request_id, "Cookie": "canary-cookie"}
    gateway.ask("PUT", f"{PATIENT}?name=canary-query", canary, b"canary-body")
    gateway.ask("GET", "/canary-path", canary)
    text = gateway.log_file.read_text()
    leaks = ("canary-query", "canary-body", "canary-path", "canary-cookie")
    for leak in (*leaks, secret, secret.split(".")[2], PATIENT.rpartition("/")[2]):
        assert leak not in text
    first, second = (line for line in gateway.log_lines("request") if line["request_id"] == request_id)
    assert (first["service"], first["user_id"], first["status"]) == ("gateway", USER, 200)
    assert first["path"] == "/patients/{patient_id}"
    assert 0 < first["latency_ms"] < 5000
    assert (second["path"], second["status"]) == ("unmatched", 404)


def test_a_full_disk_costs_the_line_and_not_the_request(monkeypatch):
    lost = access_log._LOST._value.get()
    with Path("/dev/full").open("wb") as full:
        monkeypatch.setattr(access_log, "_STDOUT", full.fileno())
        access_log.write_line("request-1", None, "GET", "/patients", 200, 1.5)
    assert access_log._LOST._value.get() == lost + 1


def test_metrics_count_by_route(gateway):
    gateway.ask("GET", PATIENT, bearer())
    gateway.ask("BREW", "/unknown/path")
    text = gateway.ask("GET", "/metrics").body.decode()
    assert (
        'heartguard_gateway_requests_total{method="GET",route="/patients/{patient_id}",status="200",upstream="patient"}'
        in text
    )
    assert "BREW" not in text
    assert PATIENT not in text


def test_metrics_are_not_public(new_gateway):
    gateway = new_gateway(METRICS_TOKEN="scrape-me")
    assert gateway.ask("GET", "/metrics").status == 404
    assert gateway.ask("GET", "/metrics", {"Authorization": "Bearer scrape-him"}).status == 404
    assert gateway.ask("GET", "/metrics", {"Authorization": "Bearer scrape-me"}).status == 200


def test_metrics_do_not_pass_a_proxy_on_this_machine(gateway):
    assert gateway.ask("GET", "/metrics", {"X-Forwarded-For": "203.0.113.5"}).status == 404


def test_suite_health_names_every_service_in_both_formats(new_gateway, services, ports):
    stand_ins = {
        f"{name}_URL".upper(): f"http://127.0.0.1:{ports['patient']}"
        for name in ("organization", "user", "influx", "inference", "notification")
    }
    gateway = new_gateway(**stand_ins)
    given = gateway.ask("GET", "/gateway/health")
    data = json.loads(given.body)["data"]
    assert (given.status, data["state"], len(data["services"])) == (200, "up", 12)
    assert {item["name"]: item["state"] for item in data["services"]}["patient"] == "up"
    assert all(item["latency_ms"] > 0 for item in data["services"])
    services["alert"].ready_status = "503 Service Unavailable"
    time.sleep(1.1)
    given = gateway.ask("GET", "/gateway/health", {"Accept": "application/xml"})
    assert given.status == 503
    assert b"<name>alert</name><state>degraded</state>" in given.body
    assert given.headers["Retry-After"] == "1"


# --- slow clients ---


def test_fifty_half_open_requests_leave_the_gateway_answering(gateway: Gateway):
    peers = [gateway.connect() for _ in range(50)]
    try:
        for peer in peers:
            peer.sendall(b"GET /patients HTTP/1.1\r\nHost: gateway\r\nX-Slow: ")
        with ThreadPoolExecutor(8) as pool:
            started = time.monotonic()
            answers = list(pool.map(lambda _: gateway.ask("GET", "/health").status, range(40)))
        assert answers == [200] * 40
        assert time.monotonic() - started < 2
        assert gateway.ask("GET", "/patients", bearer()).status == 200
    finally:
        for peer in peers:
            peer.close()


def test_a_half_open_request_is_closed_in_the_end(gateway):
    with gateway.connect(15) as peer:
        peer.sendall(b"GET /patients HTTP/1.1\r\n")
        started = time.monotonic()
        assert peer.recv(100) == b""
        assert 8 < time.monotonic() - started < 13


def test_a_hundred_slow_bodies_leave_room_for_alarms(gateway, services):
    peers = [gateway.connect() for _ in range(100)]
    headers = (f"Authorization: Bearer {token()}", "Content-Length: 1000")
    try:
        for peer in peers:
            peer.sendall(request_lines("POST", "/patients", *headers, body=b"{"))
        time.sleep(0.3)
        started = time.monotonic()
        assert gateway.ask("POST", ALARM, bearer()).status == 200
        assert gateway.ask("GET", "/patients", bearer()).status == 200
        assert gateway.ask("GET", "/health").status == 200
        assert time.monotonic() - started < 1
    finally:
        for peer in peers:
            peer.close()


def test_clients_that_do_not_read_leave_room_for_others(gateway, services):
    services["media"].behave = answer(os.urandom(8 * 1024 * 1024))
    peers = [gateway.connect() for _ in range(80)]
    try:
        for peer in peers:
            peer.sendall(request_lines("GET", "/media/x", f"Authorization: Bearer {token()}"))
        time.sleep(1)
        started = time.monotonic()
        assert gateway.ask("GET", "/patients", bearer()).status == 200
        assert time.monotonic() - started < 1
    finally:
        for peer in peers:
            peer.close()


def closed_within(peer, seconds: float) -> bool:
    peer.settimeout(seconds)
    try:
        while peer.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def test_a_body_that_stops_arriving_is_given_up(new_gateway, services):
    gateway = new_gateway(GATEWAY_STALL_TIMEOUT="1")
    head = (f"Authorization: Bearer {token()}", "Content-Length: 1000")
    peers = [gateway.connect() for _ in range(12)]
    for peer in peers:
        peer.sendall(request_lines("POST", "/patients", *head, body=b"{"))
    time.sleep(0.2)
    assert gateway.ask("POST", "/patients", bearer(), b"{}").status == 503, "this address has all its places taken"
    assert all(closed_within(peer, 4) for peer in peers)
    assert gateway.ask("POST", "/patients", bearer(), b"{}").status == 200
    assert gateway.log_lines("connections.stalled")
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("target", ["/patients", "/media"])
def test_a_body_that_only_drips_is_given_up(new_gateway, target):
    gateway = new_gateway(GATEWAY_STALL_TIMEOUT="1")
    with gateway.connect() as peer:
        head = (f"Authorization: Bearer {token()}", "Content-Length: 100000")
        peer.sendall(request_lines("POST", target, *head, body=b"{"))
        started = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - started < 6:
                peer.sendall(b"x")
                time.sleep(0.2)
        assert time.monotonic() - started < 5


def test_looking_at_connections_leaves_no_descriptor_open(new_gateway):
    gateway = new_gateway(GATEWAY_STALL_TIMEOUT="1")
    (worker,) = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
    before = len(os.listdir(f"/proc/{worker}/fd"))
    time.sleep(2.5)
    assert len(os.listdir(f"/proc/{worker}/fd")) <= before
    assert gateway.log_lines("connections.stalled") == []


def test_a_slow_but_steady_body_arrives(new_gateway, services):
    gateway = new_gateway(GATEWAY_STALL_TIMEOUT="1")
    with gateway.connect() as peer:
        head = (f"Authorization: Bearer {token()}", "Content-Length: 20000")
        peer.sendall(request_lines("POST", "/patients", *head))
        for _ in range(20):
            peer.sendall(b"x" * 1000)
            time.sleep(0.2)
        assert peer.recv(4096).startswith(b"HTTP/1.1 200")
    assert services["patient"].received[0].body == b"x" * 20_000


def test_an_answer_that_nobody_reads_is_given_up(new_gateway, services):
    gateway = new_gateway(GATEWAY_STALL_TIMEOUT="1")
    services["media"].behave = answer(os.urandom(30 * 1024 * 1024))
    with gateway.connect() as peer:
        peer.sendall(request_lines("GET", "/media/x", f"Authorization: Bearer {token()}"))
        time.sleep(4)
        peer.settimeout(3)
        received = 0
        with suppress(ConnectionError):
            while chunk := peer.recv(1 << 20):
                received += len(chunk)
        assert received < 30 * 1024 * 1024


# --- life and death ---


def test_sigterm_lets_a_running_request_end(new_gateway, services):
    gateway = new_gateway()
    services["patient"].behave = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", pause=1)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(gateway.ask, "GET", "/patients", bearer())
        time.sleep(0.4)
        gateway.process.send_signal(signal.SIGTERM)
        assert running.result(10).body == b"ok"
    assert gateway.process.wait(10) == 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [("GATEWAY_THREADS", "0"), ("TRUSTED_PROXY_HOPS", "2"), ("GATEWAY_READ_TIMEOUT", "0"), ("RATE_LIMITS_IP", "x=1")],
)
def test_a_wrong_setting_stops_the_start_with_its_name(settings, capsys, variable, value):
    with pytest.raises(SystemExit) as caught:
        settings(**{variable: value})
    assert caught.value.code == 78
    assert variable in capsys.readouterr().err
