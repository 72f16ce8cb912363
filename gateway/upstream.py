"""Calls to the services: a keep-alive libcurl handle per thread, deadlines, retries, and streams."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import pycurl
import structlog
from prometheus_client import Counter

from common.errors import ApiError, BadUpstream, Unavailable, UnparsableBody, UpstreamTimeout
from gateway.answers import BLANK, CHUNK, Answer, Chunks, Received
from gateway.breaker import Breaker, RetryBudget
from gateway.config import GatewaySettings

log = structlog.get_logger(service="gateway")

_FAILURES = Counter("heartguard_gateway_upstream_failures_total", "Calls that got no answer", ["upstream", "cause"])
_RETRIES = Counter("heartguard_gateway_retries_total", "Calls repeated within the budget", ["upstream"])

_DISK_LIMIT = 64 * 1024 * 1024
_STREAM_DISK_LIMIT = 1024 * 1024 * 1024
_CHUNKS_AHEAD = 8
_WORTH_A_RETRY_S = 0.25
_SLOWEST = 1024  # bytes per second; slower for `stall_timeout` seconds is a stall
_DNS_SHUFFLE_ADDRESSES = 275  # CURLOPT_DNS_SHUFFLE_ADDRESSES, which pycurl passes on without having a name for it

_INTERIM = re.compile(rb"HTTP/1\.[01] 1")
READS = frozenset({"GET", "HEAD"})
_NO_ANSWER = (Unavailable, BadUpstream, UpstreamTimeout)


@dataclass(slots=True)
class Call:
    """One request to a service. `headers` are finished lines; `body` is in hand (bytes) or arriving (a reader)."""

    service: str
    method: str
    target: str
    headers: list[str]
    body: bytes | Callable[[int], bytes | int] | None
    length: int
    deadline: float
    repeatable: bool


class Upstreams:
    """The eleven services behind the gateway."""

    def __init__(self, settings: GatewaySettings, services: tuple[str, ...]) -> None:
        self._settings = settings
        self._urls = {service: settings.url_of(service) for service in services}
        self._breakers = {
            service: Breaker(service, settings.breaker_failures, settings.breaker_pause) for service in services
        }
        self._budgets = {service: RetryBudget() for service in services}
        self._local = threading.local()

    def send(self, call: Call) -> Answer:
        """The service's answer, held in memory or on disk, never half.

        Raises Unavailable (no connection, or left alone), UpstreamTimeout, BadUpstream.
        """
        breaker, budget = self._breakers[call.service], self._budgets[call.service]
        breaker.enter()
        budget.earn()
        try:
            answer = self._attempt(call)
        except _NO_ANSWER as error:
            breaker.failed(error)
            # A service that was too slow once is not asked again: the client has no time left for it.
            late = isinstance(error, UpstreamTimeout) or call.deadline - time.monotonic() < _WORTH_A_RETRY_S
            if late or not call.repeatable or not budget.spend():
                raise
            _RETRIES.labels(call.service).inc()
            log.warning("upstream.retry", upstream=call.service, cause=error.id)
            try:
                answer = self._attempt(call)
            except _NO_ANSWER as again:
                breaker.failed(again)
                raise
        breaker.succeeded()
        return answer

    def stream(self, call: Call) -> Answer:
        """Like `send`, but an answer of declared length is passed on while it arrives, and bodies have minutes."""
        breaker = self._breakers[call.service]
        breaker.enter()
        transfer = _Transfer(self._new_handle(), self._urls[call.service], call, self._settings)
        try:
            answer = transfer.begin()
        except _NO_ANSWER as error:
            breaker.failed(error)
            raise
        breaker.succeeded()
        return answer

    def get(self, service: str, target: str, headers: list[str], timeout: float) -> Answer:
        """A small question of the gateway's own, past breaker and budget."""
        return self._attempt(Call(service, "GET", target, headers, None, 0, time.monotonic() + timeout, False))

    def _attempt(self, call: Call) -> Answer:
        local = self._local
        handle = getattr(local, "handle", None)
        if handle is None:
            handle, local.received = self._new_handle(), Received(_DISK_LIMIT)
            handle.setopt(pycurl.HEADERFUNCTION, local.received.lines.append)
            handle.setopt(pycurl.WRITEFUNCTION, local.received.write)
            local.handle = handle
        received: Received = local.received
        left = min(self._settings.read_timeout, call.deadline - time.monotonic())
        if left <= 0:
            raise UpstreamTimeout
        handle.setopt(pycurl.TIMEOUT_MS, int(left * 1000) + 1)
        _prepare(handle, self._urls[call.service], call)
        try:
            _perform(handle, call.service)
            return received.answer(call.method)
        finally:
            received.reset()

    def _new_handle(self) -> pycurl.Curl:
        handle = pycurl.Curl()
        for option, value in (
            (pycurl.NOSIGNAL, 1),
            (pycurl.PROXY, ""),  # the environment's http_proxy is not for the services
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.PATH_AS_IS, 1),
            (pycurl.CONNECTTIMEOUT_MS, int(self._settings.connect_timeout * 1000)),
            (pycurl.MAXCONNECTS, len(self._urls)),
            # gunicorn closes an idle connection after a few seconds; one that is about to die is not reused.
            (pycurl.MAXAGE_CONN, 2),
            # Replicas come and go by DNS alone: a new connection sees them at once, goes to any of them (the resolver
            # sorts their addresses, always alike), and a busy one does not stay with its replica for good.
            (pycurl.DNS_CACHE_TIMEOUT, 2),
            (_DNS_SHUFFLE_ADDRESSES, 1),
            (pycurl.MAXLIFETIME_CONN, 10),
            (pycurl.BUFFERSIZE, CHUNK),
        ):
            handle.setopt(option, value)
        return handle


def header_line(name: str, value: str) -> str:
    """One line for libcurl, which sends it as it is; raises ValueError for what could start another line."""
    if not value.isascii() or not value.isprintable():
        raise ValueError(name)
    return f"{name}: {value}"


def _prepare(handle: pycurl.Curl, base: str, call: Call) -> None:
    handle.setopt(pycurl.URL, base + call.target)
    handle.setopt(pycurl.HTTPHEADER, call.headers)
    if call.body is None:
        handle.setopt(pycurl.HTTPGET, 1)
        # libcurl repeats by itself what a reused connection swallowed. A change must not happen twice, so it gets a
        # fresh connection; one with a body is safe, because libcurl cannot rewind it.
        handle.setopt(pycurl.FRESH_CONNECT, call.method not in READS)
        handle.setopt(pycurl.NOBODY, call.method == "HEAD")
    else:
        handle.setopt(pycurl.UPLOAD, 1)
        handle.setopt(pycurl.INFILESIZE_LARGE, call.length)
        handle.setopt(pycurl.READFUNCTION, BytesIO(call.body).read if isinstance(call.body, bytes) else call.body)
        handle.setopt(pycurl.FRESH_CONNECT, 0)
    handle.setopt(pycurl.CUSTOMREQUEST, call.method)


def _perform(handle: pycurl.Curl, service: str) -> None:
    try:
        handle.perform()
    except pycurl.error as error:
        raise _explain(handle, error.args[0], service) from None


def _explain(handle: pycurl.Curl, code: int, service: str) -> ApiError:
    sent = handle.getinfo(pycurl.REQUEST_SIZE) > 0
    if code == pycurl.E_ABORTED_BY_CALLBACK:  # only the body's reader aborts: the client went away while sending
        return UnparsableBody()
    error: ApiError
    if code == pycurl.E_OPERATION_TIMEDOUT and sent:
        cause, error = "timeout", UpstreamTimeout()
    elif code == pycurl.E_OPERATION_TIMEDOUT or code in (pycurl.E_COULDNT_CONNECT, pycurl.E_COULDNT_RESOLVE_HOST):
        cause, error = "connect", Unavailable()
    else:
        cause, error = f"curl_{code}", BadUpstream()
    _FAILURES.labels(service, cause).inc()
    return error


def _is_interim(lines: list[bytes]) -> bool:
    """True when the head that ends here is that of a 1xx answer."""
    last = next(line for line in reversed(lines) if line.startswith(b"HTTP/"))
    return _INTERIM.match(last) is not None


class _Transfer(Received):
    """A long call in a thread of its own, so that its answer can be passed on while it arrives.

    Only an answer of declared length streams: granian ends a chunked one properly even when the source broke, and a
    client would take half an export for the whole. The others are put on disk first.
    """

    def __init__(self, handle: pycurl.Curl, base: str, call: Call, settings: GatewaySettings) -> None:
        super().__init__(_STREAM_DISK_LIMIT)
        self._handle, self._call, self._patience = handle, call, settings.stall_timeout
        self._state = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._streaming = self._ended = self._abandoned = False
        self._error: ApiError | None = None
        handle.setopt(pycurl.TIMEOUT_MS, int(settings.stream_timeout * 1000))
        handle.setopt(pycurl.LOW_SPEED_LIMIT, _SLOWEST)
        handle.setopt(pycurl.LOW_SPEED_TIME, settings.stall_timeout)
        handle.setopt(pycurl.HEADERFUNCTION, self.header)
        handle.setopt(pycurl.WRITEFUNCTION, self.write)
        _prepare(handle, base, call)

    def begin(self) -> Answer:
        """Start, and answer as soon as the head is there (or, without a declared length, all of it)."""
        threading.Thread(target=self._run, name="transfer", daemon=True).start()
        with self._state:
            self._state.wait_for(lambda: self._streaming or self._ended)
        if self._error is not None:
            raise self._error
        if not self._streaming:
            return self.answer(self._call.method)
        status, headers, declared = self.head()
        return Answer(status, headers, Chunks(self._next, self._abandon), declared)

    def header(self, line: bytes) -> int | None:
        self.lines.append(line)
        if line not in BLANK or self._streaming or _is_interim(self.lines):
            return None
        try:
            status, _, declared = self.head()
        except BadUpstream as error:
            self._error = error
            return 0
        if declared and self._call.method != "HEAD" and status not in (204, 304):
            with self._state:
                self._streaming = True
                self._state.notify()
        return None

    def write(self, chunk: bytes) -> int | None:
        if not self._streaming:
            return super().write(chunk)
        with self._state:
            if not self._state.wait_for(self._has_room, self._patience) or self._abandoned:
                return 0
            self._waiting.append(chunk)
            self._state.notify()
        return None

    def _has_room(self) -> bool:
        return self._abandoned or len(self._waiting) < _CHUNKS_AHEAD

    def _run(self) -> None:
        try:
            _perform(self._handle, self._call.service)
        except ApiError as error:
            self._error = self._error or error
            self.reset()
        finally:
            self._handle.close()
            with self._state:
                self._ended = True
                self._state.notify()

    def _next(self) -> bytes:
        with self._state:
            self._state.wait_for(lambda: self._waiting or self._ended)
            if self._waiting:
                self._state.notify()
                return self._waiting.popleft()
        if self._error is not None:
            raise self._error
        return b""

    def _abandon(self) -> None:
        with self._state:
            self._abandoned = True
            self._state.notify()
