"""`python -m common.worker SERVICE`: the relay, the consumers and the tasks of one service, each on its own thread.

A thread that ends by an unforeseen error ends the process, and the supervisor starts it again.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import inspect
import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import structlog

from common import cache, consuming, idempotency, measuring, messaging, observability, outbox, publishing, tasks
from common.config import package_of
from common.database import Database
from common.factory import resources_of

log = structlog.get_logger()

RELAY_POLL_S = 2.0
HOUR_S, DAY_S = 3600.0, 24 * 3600.0
EXIT_AFTER_FAILURE = 70


class Worker:
    """All background work of one service."""

    def __init__(self, service: str) -> None:
        package = package_of(service)
        settings = importlib.import_module(f"{package}.config").Settings.load(service)
        observability.configure_logging(settings)
        observability.trace(settings)
        for module in ("consumers", "tasks"):
            if importlib.util.find_spec(f"{package}.{module}"):
                importlib.import_module(f"{package}.{module}")
        self.stopping = threading.Event()
        self._failed = False
        queues: dict[str, list[messaging.Consumer]] = defaultdict(list)
        for item in messaging.registry:
            queues[item.queue].append(item)
        threads = len(queues) + len(tasks.registry) + 4
        self.database = Database(settings, pool_size=threads, worker=True)
        resources = resources_of(package, settings, self.database)
        publisher = publishing.Publisher(settings.rabbitmq_url)
        self._runs: dict[str, Callable[[], None]] = {}
        chosen = [
            tasks.Task(outbox.WAKE, RELAY_POLL_S, lambda: outbox.relay(self.database, publisher)),
            tasks.Task("inbox", DAY_S, lambda: consuming.forget_processed(self.database)),
            tasks.Task("answers", HOUR_S, lambda: idempotency.forget_answers(self.database)),
        ]
        for task in (*chosen, *tasks.registry):
            call = _with_resources(task.run, resources)
            self._runs[task.name] = tasks.TaskRunner(self.database, task, call, self.stopping).run
        ages: dict[str, measuring.QueueAge] = {}
        for queue, consumers in queues.items():
            consumer = consuming.QueueConsumer(
                settings.rabbitmq_url, self.database, queue, consumers, resources, self.stopping
            )
            ages[queue] = consumer.age
            self._runs[queue] = consumer.run
        self._runs["measuring"] = measuring.Measurer(
            settings.rabbitmq_url, self.database, cache.connect(settings.redis_url), ages, self.stopping
        ).run

    def run(self) -> int:
        """Work until SIGTERM or SIGINT; returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        observability.serve_worker_metrics()
        threads = [
            threading.Thread(target=self._guard, args=(name, run), name=name, daemon=True)
            for name, run in self._runs.items()
        ]
        for thread in threads:
            thread.start()
        log.info("worker.ready", runs=sorted(self._runs))
        gc.collect()
        gc.freeze()
        while not self.stopping.wait(0.5):
            pass
        for thread in threads:
            thread.join(timeout=10)
        log.info("worker.stopped")
        return EXIT_AFTER_FAILURE if self._failed else 0

    def _guard(self, name: str, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception:
            log.exception("worker.thread_failed", run=name)
            self._failed = True
            self.stopping.set()


def _with_resources(function: Callable[..., int], resources: dict[str, Any]) -> Callable[[], int]:
    wanted = inspect.signature(function).parameters
    return lambda: function(**{name: resources[name] for name in wanted})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m common.worker SERVICE (for example: patient)")
    status = Worker(sys.argv[1].removesuffix("_service")).run()
    sys.stdout.flush()
    os._exit(status)  # a thread that hangs in a socket must not hold the process up
