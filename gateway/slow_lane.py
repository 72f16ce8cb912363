"""A bound on threads that wait for clients: a body still arriving, a large answer still being read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import Unavailable
from gateway.answers import Chunks


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

    def lend(self, address: str, chunks: Chunks) -> Chunks:
        """The chunks of an answer, which hold a place of `address` until they are closed; raises Unavailable."""
        try:
            self.enter(address)
        except Unavailable:
            chunks.close()
            raise

        def close() -> None:
            self.leave(address)
            chunks.close()

        return Chunks(chunks.__next__, close)
