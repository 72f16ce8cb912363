"""One Lua script over one connection to Redis, past redis-py's client, which costs more than the round trip."""

from __future__ import annotations

import hashlib
import socket
import struct
from collections.abc import Iterable
from typing import Any

import redis

from common.cache import TIMEOUT_S, connect

_KERNEL_TIMEOUT = struct.pack("ll", 0, int(TIMEOUT_S * 1_000_000))


class RedisScript:
    """For one thread. redis-py connects (password, database, TLS); the script's call and its integer are ours."""

    def __init__(self, url: str, source: str) -> None:
        self._pool = connect(url).connection_pool
        self._source = source
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        self._connection: Any = None
        self._socket: socket.socket | None = None

    def run(self, keys: list[str], arguments: Iterable[float]) -> int:
        """The script's answer; raises RedisError within two timeouts."""
        tail = [str(len(keys)), *keys, *map(str, arguments)]
        call = _pack(["EVALSHA", self._digest, *tail])
        try:
            reply = self._exchange(call)
            if reply.startswith(b"-NOSCRIPT"):  # Redis restarted
                reply = self._exchange(_pack(["EVAL", self._source, *tail]))
        except OSError as error:
            self.close()
            raise redis.ConnectionError(type(error).__name__) from error
        if not reply.startswith(b":"):
            self.close()
            raise redis.ResponseError(reply.split(b" ", 1)[0].decode(errors="replace"))
        return int(reply[1:-2])

    def close(self) -> None:
        """Forget the connection."""
        if self._connection is not None:
            self._connection.disconnect()
        self._connection = self._socket = None

    def _exchange(self, call: bytes) -> bytes:
        if self._socket is not None:
            try:
                return _ask(self._socket, call)
            except ConnectionError:  # Redis restarted since: that alone does not mean that it is away
                self.close()
        return _ask(self._open(), call)

    def _open(self) -> socket.socket:
        self._connection = self._pool.connection_class(**self._pool.connection_kwargs)
        self._connection.connect()
        opened: socket.socket = self._connection._sock
        # The kernel keeps the time: Python's timeouts cost a poll before every call.
        opened.settimeout(None)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _KERNEL_TIMEOUT)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _KERNEL_TIMEOUT)
        self._socket = opened
        return opened


def _pack(words: list[str]) -> bytes:
    """A command in RESP, the Redis serialization protocol."""
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded])


def _ask(connection: socket.socket, call: bytes) -> bytes:
    connection.sendall(call)
    reply = connection.recv(4096)
    while not reply.endswith(b"\r\n"):
        more = connection.recv(4096)
        if not more:
            raise ConnectionResetError
        reply += more
    return reply
