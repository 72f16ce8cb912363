from __future__ import annotations

import gzip
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pycurl
import pytest
from pycurl import READFUNC_ABORT
from structlog.testing import capture_logs

from common.errors import BadUpstream, Unavailable, UnparsableBody, UpstreamTimeout
from gateway import upstream as upstream_module
from gateway.answers import Answer
from gateway.breaker import RetryBudget
from gateway.upstream import Call, Upstreams, header_line
from ops.native.servers.base import free_ports
from tests.gateway.stage import Service, answer, raw


@pytest.fixture
def patient(services) -> Service:
    return services["patient"]


@pytest.fixture
def upstreams(settings, services) -> Upstreams:
    return Upstreams(settings(GATEWAY_BREAKER_PAUSE="1"), tuple(services))


def call(method: str = "GET", target: str = "/x", **more) -> Call:
    defaults = {
        "service": "patient",
        "headers": ["Expect:"],
        "body": None,
        "length": 0,
        "deadline": time.monotonic() + 2.5,
        "repeatable": method == "GET",
    }
    return Call(method=method, target=target, **(defaults | more))


def post(body: bytes = b"{}", **more) -> Call:
    return call("POST", body=body, length=len(body), **more)


def whole(answer: Answer) -> bytes:
    return answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

BROKEN = {
    "nothing": b"",
    "closes in the head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "closes in the body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "closes in a chunk": CHUNKED + b"5\r\nhel",
    "closes before the last chunk": CHUNKED + b"5\r\nhello\r\n",
    "a chunk size that is none": CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/0.9": b"hello",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 0\r\n\r\n",
    "a space in a header's name": b"HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 0\r\n\r\n",
    "a NUL in a header": b"HTTP/1.1 200 OK\r\nX-A: 1\x002\r\nContent-Length: 0\r\n\r\n",
    "a bare CR in a header": b"HTTP/1.1 200 OK\r\nX-A: 1\rX-User-Id: 2\r\nContent-Length: 0\r\n\r\n",
    "latin-1 in a header": b"HTTP/1.1 200 OK\r\nX-A: \xe9\r\nContent-Length: 0\r\n\r\n",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 50_000 + b"\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_answer_is_never_passed_on(upstreams, patient, what):
    patient.behave = raw(BROKEN[what])
    with pytest.raises(BadUpstream):
        upstreams.send(call(repeatable=False))


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_stream_is_never_taken_for_whole(upstreams, patient, what):
    patient.behave = raw(BROKEN[what])
    with pytest.raises(BadUpstream):
        whole(upstreams.stream(call()))


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more", b"ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil it closes", b"until it closes"),
        (b"HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (CHUNKED + b"2;name=value\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n", b"ok"),
    ],
)
def test_an_odd_but_proper_answer_passes(upstreams, patient, data, body):
    patient.behave = raw(data)
    for ask in (upstreams.send, upstreams.stream):
        given = ask(call())
        assert (given.status, whole(given)) == (200, body)
        assert not {name.lower() for name, _ in given.headers} & {"link", "transfer-encoding", "x-trailer"}


def test_a_wrong_length_does_not_spoil_the_next_answer(upstreams, patient):
    patient.behave = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 403 No\r\n\r\n", then_close=False)
    assert whole(upstreams.send(call())) == b"ok"
    patient.behave = answer(b"fine")
    assert whole(upstreams.send(call())) == b"fine"


def test_headers_that_are_the_gateways_stay_behind(upstreams, patient):
    patient.behave = answer(
        headers=(
            "Connection: keep-alive, X-Secret",
            "X-Secret: 1",
            "Keep-Alive: timeout=5",
            "Server: gunicorn",
            "Date: now",
            "Access-Control-Allow-Origin: *",
            "X-Request-ID: theirs",
            "ETag: abc",
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
        )
    )
    assert upstreams.send(call()).headers == [("ETag", "abc"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]


def test_nothing_is_decoded(upstreams, patient):
    packed = gzip.compress(b"patient" * 100)
    patient.behave = answer(packed, headers=("Content-Encoding: gzip",))
    given = upstreams.send(call())
    assert given.body == packed
    assert ("Content-Encoding", "gzip") in given.headers


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_a_body_has_no_length(upstreams, patient, status):
    patient.behave = raw(f"HTTP/1.1 {status}\r\n\r\n".encode(), then_close=False)
    given = upstreams.send(call())
    assert (given.body, given.length) == (b"", None)


def test_head_keeps_the_length_of_the_body_it_does_not_carry(upstreams, patient):
    patient.behave = answer(b"x" * 321)
    given = upstreams.send(call("HEAD"))
    assert (given.body, given.length) == (b"", 321)


def test_a_connection_serves_many_calls(upstreams, patient):
    for method in ("GET", "POST", "GET", "PUT", "HEAD", "GET"):
        upstreams.send(call(method) if method in ("GET", "HEAD") else call(method, body=b"{}", length=2))
    assert [request.method for request in patient.received] == ["GET", "POST", "GET", "PUT", "HEAD", "GET"]
    assert len({request.connection for request in patient.received}) == 1


class Replicated(Upstreams):
    """Upstreams for which the name `patient` resolves to two replicas."""

    def _new_handle(self) -> pycurl.Curl:
        handle = super()._new_handle()
        port = self._urls["patient"].rpartition(":")[2]
        handle.setopt(pycurl.RESOLVE, [f"patient:{port}:127.0.0.2,127.0.0.3"])
        return handle


def hang_up(service: Service) -> None:
    """Let the replica answer nobody any more, as one that was killed."""
    service.behave = raw(b"")
    service.close()


def test_replicas_of_one_name_share_the_calls_and_one_killed_loses_no_read(settings):
    (port,) = free_ports(1)
    replicas = [Service(address, port) for address in ("127.0.0.2", "127.0.0.3")]
    upstreams = Replicated(settings(PATIENT_URL=f"http://patient:{port}"), ("patient",))
    threads, killed = 16, threading.Barrier(17, timeout=10)

    def ask() -> list[int]:
        statuses = [upstreams.send(call()).status for _ in range(5)]
        killed.wait()
        killed.wait()
        return statuses + [upstreams.send(call()).status for _ in range(5)]

    with ThreadPoolExecutor(threads) as pool:
        asked = [pool.submit(ask) for _ in range(threads)]
        killed.wait()
        shares = [len(replica.received) for replica in replicas]
        hang_up(replicas[0])
        killed.wait()
        assert [future.result() for future in asked] == [[200] * 10] * threads
    # A thread keeps its connection, so a share is a multiple of five; one of sixteen coins alike has odds of 1:32768.
    assert sum(shares) == 80 and min(shares) > 0
    assert len(replicas[1].received) == shares[1] + 80
    replicas[1].close()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 300_000])
def test_method_and_body_arrive_as_sent(upstreams, patient, method, body):
    upstreams.send(call(method, body=body or None, length=len(body)))
    (request,) = patient.received
    assert (request.method, request.body) == (method, body)
    assert "expect" not in request.headers
    assert "transfer-encoding" not in request.headers


# --- nothing twice ---


def vanish_on_reuse(service: Service) -> None:
    """Answer the first request of a connection; take the second and hang up, as a killed worker does."""
    seen: set[int] = set()

    def act(peer, request):
        if request.connection in seen:
            return False
        seen.add(request.connection)
        return answer()(peer, request)

    service.behave = act


def test_a_connection_closed_under_us_is_no_error_for_a_read(upstreams, patient):
    vanish_on_reuse(patient)
    upstreams.send(call())
    assert upstreams.send(call()).status == 200


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_an_unkeyed_change_is_sent_once(upstreams, patient, body):
    vanish_on_reuse(patient)
    upstreams.send(call())
    change = call("POST", target="/change", body=body or None, length=len(body))
    with suppress(BadUpstream):  # the honest answer: nobody knows whether it happened
        upstreams.send(change)
    assert [request.target for request in patient.received].count("/change") == 1


def test_a_keyed_change_is_repeated_once(upstreams, patient):
    vanish_on_reuse(patient)
    upstreams.send(call())
    with capture_logs() as lines:
        assert upstreams.send(post(target="/change", repeatable=True)).status == 200
    assert [request.body for request in patient.received if request.target == "/change"] == [b"{}", b"{}"]
    assert [line["event"] for line in lines] == ["upstream.retry"]


def test_retries_stay_within_a_tenth(upstreams, patient):
    patient.behave = raw(b"")
    failures = 0
    for _ in range(40):
        upstreams._breakers["patient"].succeeded()
        with pytest.raises(BadUpstream):
            upstreams.send(call())
        failures += 1
    assert len(patient.received) - failures <= 10 + failures // 10


def test_the_budget_refills_by_a_tenth():
    budget = RetryBudget(most=1.0)
    assert budget.spend()
    for _ in range(9):
        budget.earn()
    assert not budget.spend()
    for _ in range(2):
        budget.earn()
    assert budget.spend()


# --- slow and away ---


def test_a_slow_service_is_given_two_seconds_and_not_asked_again(upstreams, patient):
    patient.behave = raw(b"", pause=3)
    started = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        upstreams.send(call())
    assert 1.9 < time.monotonic() - started < 2.4
    assert len(patient.received) == 1


def test_a_dripping_service_is_too_slow_as_well(upstreams, patient):
    def drip(peer, _request):
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(60):
            peer.sendall(b"x")
            time.sleep(0.05)
        return False

    patient.behave = drip
    with pytest.raises(UpstreamTimeout):
        upstreams.send(call(deadline=time.monotonic() + 0.5))


def test_nobody_listening_is_unavailable(settings):
    upstreams = Upstreams(settings(ALERT_URL=f"http://127.0.0.1:{free_ports(1)[0]}"), ("alert",))
    with pytest.raises(Unavailable) as caught:
        upstreams.send(call(service="alert"))
    assert caught.value.headers["Retry-After"] == "1"


def test_a_full_backlog_costs_the_connect_timeout(settings):
    import socket

    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        waiting = []
        for _ in range(4):
            peer = socket.socket()
            peer.setblocking(False)
            peer.connect_ex(deaf.getsockname())
            waiting.append(peer)
        upstreams = Upstreams(settings(ALERT_URL=f"http://127.0.0.1:{deaf.getsockname()[1]}"), ("alert",))
        started = time.monotonic()
        with pytest.raises(Unavailable):
            upstreams.send(call(service="alert", repeatable=False))
        assert time.monotonic() - started < 0.6
        for peer in waiting:
            peer.close()


def test_the_breaker_opens_answers_at_once_and_lets_one_try(upstreams, patient):
    patient.behave = raw(b"")
    for _ in range(5):
        with pytest.raises(BadUpstream):
            upstreams.send(call(repeatable=False))
    patient.received.clear()
    for _ in range(20):
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            upstreams.send(call())
        assert time.monotonic() - started < 0.05
        assert caught.value.headers["Retry-After"] == "1"
    assert patient.received == []
    time.sleep(1.05)

    entered, outcomes = threading.Barrier(8), []

    def slow_answer(peer, request):
        time.sleep(0.2)
        return answer()(peer, request)

    def one() -> None:
        entered.wait()
        try:
            outcomes.append(upstreams.send(call()).status)
        except Unavailable:
            outcomes.append(503)

    patient.behave = slow_answer
    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [200] + [503] * 7
    assert upstreams.send(call()).status == 200


def test_a_failed_trial_leaves_the_breaker_open(upstreams, patient):
    patient.behave = raw(b"")
    for _ in range(5):
        with pytest.raises(BadUpstream):
            upstreams.send(call(repeatable=False))
    time.sleep(1.05)
    with pytest.raises(BadUpstream):
        upstreams.send(call(repeatable=False))
    with pytest.raises(Unavailable):
        upstreams.send(call())


def test_one_broken_service_leaves_the_others_alone(upstreams, patient):
    patient.behave = raw(b"")
    for _ in range(6):
        with pytest.raises((BadUpstream, Unavailable)):
            upstreams.send(call())
    assert upstreams.send(call(service="alert")).status == 200


def test_an_error_answer_is_an_answer(upstreams, patient):
    patient.behave = answer(b"{}", "500 Oops")
    for _ in range(20):
        assert upstreams.send(call()).status == 500


# --- large ---


def test_a_large_answer_goes_over_the_disk(upstreams, patient):
    body = b"0123456789abcdef" * 200_000
    patient.behave = answer(body)
    given = upstreams.send(call())
    assert not isinstance(given.body, bytes)
    assert (given.length, whole(given)) == (len(body), body)


def test_an_endless_answer_is_cut_off(upstreams, patient, monkeypatch):
    monkeypatch.setattr(upstream_module, "_DISK_LIMIT", 3_000_000)
    patient.behave = raw(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 4_000_000)
    with pytest.raises(BadUpstream):
        upstreams.send(call(repeatable=False))


def test_a_stream_is_passed_on_while_it_arrives(upstreams, patient):
    go_on = threading.Event()

    def act(peer, _request):
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        assert go_on.wait(5)
        peer.sendall(b"other")
        return True

    patient.behave = act
    chunks = iter(upstreams.stream(call()).body)
    assert next(chunks) == b"first"
    go_on.set()
    assert b"".join(chunks) == b"other"


def test_a_stream_waits_for_its_reader(upstreams, patient):
    sent = []

    def act(peer, _request):
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for number in range(100):
            peer.sendall(b"x" * 1_000_000)
            sent.append(number)
        return False

    patient.behave = act
    given = upstreams.stream(call())
    time.sleep(0.7)
    assert len(sent) < 30, "the gateway must not take the whole body into memory"
    assert len(whole(given)) == 100_000_000


def test_a_stream_nobody_reads_any_more_ends(upstreams, patient):
    patient.behave = answer(b"x" * 50_000_000)
    given = upstreams.stream(call())
    next(given.body)
    given.body.close()
    until = time.monotonic() + 5
    while any(thread.name == "transfer" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_body_still_arriving_is_streamed(upstreams, patient):
    left = [b"a" * 60_000, b"b" * 40_000]
    sending = call("POST", body=lambda _size: left.pop(0) if left else b"", length=100_000)
    assert upstreams.stream(sending).status == 200
    assert patient.received[0].body == b"a" * 60_000 + b"b" * 40_000


def test_a_client_that_goes_away_while_sending_is_not_the_services_fault(upstreams, patient):
    for _ in range(6):
        with pytest.raises(UnparsableBody):
            upstreams.stream(call("POST", body=lambda _size: READFUNC_ABORT, length=100))
    assert patient.received == []
    assert upstreams.send(call()).status == 200


# --- header injection ---


LINE_BREAKERS = ["a\r\nX-User-Id: 1", "a\nb", "a\rb", "a\x00b", "a\x0bb", "a\x85b", "a\u2028b", "\udc80", "é"]


@pytest.mark.parametrize("value", LINE_BREAKERS)
def test_a_value_that_could_start_a_line_is_refused(value):
    with pytest.raises(ValueError):
        header_line("x-note", value)
