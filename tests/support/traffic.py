"""Clients that read and write through the gateway without a pause, and what every one of their requests came to."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from uuid import uuid4

from ops.native.servers.base import LOOPBACK


@dataclass(frozen=True)
class Outcome:
    """What one request came to; status 0 is a connection that broke or was refused."""

    method: str
    status: int
    retry_after: str | None
    began: float
    seconds: float
    detail: str


@dataclass
class Traffic:
    """Use as a context: the clients stop at its end. Every accepted care team is in `made`, by its name."""

    port: int
    token: str
    clients: int = 3
    outcomes: list[Outcome] = field(default_factory=list)
    made: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Traffic:
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=work) for work in [self._read] * self.clients + [self._write] * self.clients
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        while not self._stopping.wait(0.02):
            self.ask("GET", "/care-teams?limit=1")

    def _write(self) -> None:
        while not self._stopping.wait(0.05):
            name, key = f"Guardia {uuid4().hex}", uuid4().hex
            for _ in range(100):  # the same key again: whatever became of the first, it happens once
                outcome = self.ask("POST", "/care-teams", {"name": name}, key)
                if outcome.status == 201:
                    self.made[name] += 1
                    break
                time.sleep(0.1)

    def ask(self, method: str, path: str, body: object = None, key: str = "") -> Outcome:
        """One request on a connection of its own."""
        headers = {"Authorization": f"Bearer {self.token}", "Connection": "close"}
        if body is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": key}
        connection, began = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10), time.monotonic()
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            content = answer.read()
            status, retry_after = answer.status, answer.getheader("Retry-After")
            detail = "" if status < 400 else content.decode(errors="replace")[:300]
        except (OSError, http.client.HTTPException) as error:
            status, retry_after, detail = 0, None, repr(error)
        finally:
            connection.close()
        outcome = Outcome(method, status, retry_after, began, time.monotonic() - began, detail)
        self.outcomes.append(outcome)
        return outcome

    def dishonest(self) -> list[Outcome]:
        """Everything but a success and a 503 that says when to come again."""
        return [
            outcome
            for outcome in self.outcomes
            if outcome.status not in (200, 201) and not (outcome.status == 503 and outcome.retry_after)
        ]

    def seconds_of_503(self, gap: float = 0.25) -> float:
        """For how long in all somebody was told to come again: refusals less than `gap` apart are one stretch."""
        total, last_end = 0.0, None
        for outcome in sorted(self.outcomes, key=lambda item: item.began):
            if outcome.status != 503:
                continue
            begin, end = outcome.began, outcome.began + outcome.seconds
            if last_end is not None and begin - last_end < gap:
                total += max(0.0, end - last_end)
                last_end = max(last_end, end)
            else:
                total += outcome.seconds
                last_end = end
        return total

    def summary(self) -> str:
        """Counts of statuses and the slowest answer, for people."""
        counts = Counter(outcome.status for outcome in self.outcomes)
        slowest = max((outcome.seconds for outcome in self.outcomes), default=0.0)
        return f"{dict(counts)}, slowest {slowest:.2f} s, 503 for {self.seconds_of_503():.2f} s in all"
