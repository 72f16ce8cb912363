"""Closes client connections that no longer move, because granian has no timeout for bodies and slow readers.

A body that stops arriving holds a thread for as long as the connection lives; so does an answer that nobody reads.
The kernel knows: a connection on which nothing was sent and hardly anything received for a while is one of those.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from pathlib import Path

import structlog

log = structlog.get_logger(service="gateway")

_LEAST_RATE = 1024  # bytes per second that a body has to make
# struct tcp_info of linux/tcp.h: the state, milliseconds since data was last sent, and all bytes ever received.
_CLOSED = 7
_LAST_DATA_SENT, _BYTES_RECEIVED, _INFO_SIZE = 44, 128, 136


class StalledConnections:
    """Looks at every connection once per `seconds` and shuts down those that stood still in between."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._received: dict[int, int] = {}

    def watch(self) -> None:
        """Start looking, in a thread of this process."""
        threading.Thread(target=self._run, name="stalled-connections", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(self._seconds)
            self.close_stalled()

    def close_stalled(self) -> int:
        """Shut the stalled connections down; their number."""
        before, self._received = self._received, {}
        closed = 0
        for connection in _accepted():
            with connection:
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
                if info[0] == _CLOSED:  # bound to our port, but nobody's connection
                    continue
                silent_for = struct.unpack_from("I", info, _LAST_DATA_SENT)[0] / 1000
                received = struct.unpack_from("Q", info, _BYTES_RECEIVED)[0]
                inode = os.fstat(connection.fileno()).st_ino
                self._received[inode] = received
                progress = received - before.get(inode, received - _LEAST_RATE * self._seconds)
                if silent_for >= self._seconds and progress < _LEAST_RATE * self._seconds:
                    _shut_down(connection)
                    closed += 1
        if closed:
            log.warning("connections.stalled", closed=closed)
        return closed


def _accepted() -> list[socket.socket]:
    """Duplicates of this process's accepted TCP connections: those on a port that it listens on."""
    listening: set[int] = set()
    connected: list[socket.socket] = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if not os.readlink(descriptor).startswith("socket:"):
                continue
            found = socket.socket(fileno=os.dup(int(descriptor.name)))
        except OSError:
            continue  # closed meanwhile
        if found.type != socket.SOCK_STREAM or found.family not in (socket.AF_INET, socket.AF_INET6):
            found.close()
        elif found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listening.add(found.getsockname()[1])
            found.close()
        else:
            connected.append(found)
    for other in connected:
        if other.getsockname()[1] not in listening:
            other.close()
    return [connection for connection in connected if connection.fileno() >= 0]


def _shut_down(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was faster
