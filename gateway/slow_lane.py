"""A bound on threads that wait for clients: a body still arriving, a large answer still being read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import Unavailable


class SlowLane:
    """Half of the threads may wait for clients, and an eighth for one address; the other half stays free."""

    def __init__(self, threads: int) -> None:
        self._most, self._most_per_address = max(threads // 2, 1), max(threads // 8, 1)
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, address: str) -> None:
        """Take a place; raises Unavailable when there is none."""
        with self._lock:
            if self._held[address] >= self._most_per_address or self._held.total() >= self._most:
                raise Unavailable
            self._held[address] += 1

    def leave(self, address: str) -> None:
        """Give the place back."""
        with self._lock:
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]

    @contextmanager
    def place(self, address: str) -> Iterator[None]:
        """A place for the time of a block."""
        self.enter(address)
        try:
            yield
        finally:
            self.leave(address)

    def lend(self, address: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass chunks on and give the place of `address`, already taken, back after the last."""
        return _Lent(self, address, chunks)


class _Lent(Iterator[bytes]):
    """An iterator and not a generator: `close` must act even when nothing was read."""

    def __init__(self, lane: SlowLane, address: str, chunks: Iterator[bytes]) -> None:
        self._lane, self._address, self._chunks = lane, address, chunks
        self._open = True

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._lane.leave(self._address)
            self._chunks.close()  # type: ignore[attr-defined]
