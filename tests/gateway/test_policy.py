from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MethodNotAllowed, NotFound
from gateway.policy import RouteTable
from tests.gateway.stage import PATIENT, ROOT, ROUTES

TABLE = RouteTable(ROUTES)


def test_a_declared_path_is_rebuilt_from_its_segments():
    route, target = TABLE.match("GET", PATIENT)
    assert (route.service, route.path, target) == ("patient", "/patients/{patient_id}", PATIENT)


def test_a_free_parameter_is_quoted_whole():
    _, target = TABLE.match("GET", "/media/a b;c&d=e+f:g@h")
    assert target == "/media/a%20b%3Bc%26d%3De%2Bf%3Ag%40h"


def test_utf8_that_wsgi_decoded_as_latin1_is_restored():
    _, target = TABLE.match("GET", "/media/ñ".encode().decode("latin-1"))
    assert target == "/media/%C3%B1"


def test_head_follows_get():
    assert TABLE.match("HEAD", "/patients")[0].method == "GET"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "/",
        "//",
        "patients",
        "/patients/",
        "//patients",
        "/patients//export",
        "/patients/../auth/me",
        "/patients/..",
        "/..",
        "/./patients",
        f"{PATIENT}/.",
        f"{PATIENT}/../../auth/me",
        "/patients\\..\\auth",
        "/media/a%2fb",
        "/media/%2e%2e",
        "/media/a?b",
        "/media/a#b",
        "/media/a\x00b",
        "/media/a\r\nX: y",
        "/media/a\x7f",
        "/media/\xff\xfe",
        "/media/" + "a" * 256,
        "/patients/1",
        "/patients/0198B7A2-5c1e-7c44-9a51-3d2f4b6a7c8",
        "/patients/٠198b7a2-5c1e-7c44-9a51-3d2f4b6a7c88",
        f"{PATIENT}\n",
        f"{PATIENT};x=1",
        "/internal/revocations/x",
        "/ready",
        "/health",
    ],
)
def test_what_is_not_declared_does_not_pass(path):
    with pytest.raises(NotFound):
        TABLE.match("GET", path)


@pytest.mark.parametrize("method", ["POST", "PATCH", "TRACE", "CONNECT", "get", ""])
def test_a_wrong_method_names_the_right_ones(method):
    with pytest.raises(MethodNotAllowed) as caught:
        TABLE.match(method, PATIENT)
    assert caught.value.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"


def test_literal_segments_come_before_parameters():
    table = RouteTable([{**ROUTES[2], "path": "/patients/summary", "types": {}}, *ROUTES])
    assert table.match("GET", "/patients/summary")[0].path == "/patients/summary"


def test_a_literal_dead_end_falls_back_to_the_parameter():
    table = RouteTable(
        [
            {**ROUTES[0], "path": "/models/latest/stage", "types": {}},
            {**ROUTES[0], "path": "/models/{code}", "types": {"code": "string"}},
        ]
    )
    assert table.match("GET", "/models/latest")[0].path == "/models/{code}"


def test_a_route_declared_twice_stops_the_start():
    with pytest.raises(ValueError, match="declared twice"):
        RouteTable([*ROUTES, ROUTES[0]])


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
def test_a_target_never_holds_what_could_change_its_meaning(segment):
    try:
        _, target = TABLE.match("GET", f"/media/{segment}")
    except NotFound:
        return
    assert target.count("/") == 2
    assert target.isascii()
    assert not set(target) & set("\\?#;\r\n\t \x00")
    assert target.removeprefix("/media/") not in ("", ".", "..")


def test_the_generated_table_loads():
    table = RouteTable.load(str(ROOT / "gateway" / "routes.json"))
    assert table.match("GET", "/patients")[0].service == "patient"
    assert table.match("GET", "/audit/export")[0].stream
    assert not table.match("GET", "/audit/logs")[0].stream
    assert table.match("POST", "/timeseries/write")[0].rate_class == "ingest"
    assert table.match("POST", "/alerts/0198b7a2-5c1e-7c44-9a51-3d2f4b6a7c88/ack")[0].rate_class == "ack"
    for door in ("login", "refresh", "register", "password/forgot", "password/reset"):
        assert table.match("POST", f"/auth/{door}")[0].rate_class == "login"


@pytest.mark.parametrize(("method", "path"), [("POST", "/write"), ("GET", "/query")])
def test_a_path_on_the_service_itself_does_not_pass(method, path):
    with pytest.raises(NotFound):
        RouteTable.load(str(ROOT / "gateway" / "routes.json")).match(method, path)
    published = json.loads((ROOT / "schemas" / "openapi" / "influx.json").read_text())
    assert method.lower() in published["paths"][path]
