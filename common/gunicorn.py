"""gunicorn's settings, the same for every service: `gunicorn -c common/gunicorn.py patient_service.app:app`."""

import importlib
import os
import select
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from gunicorn.workers.gthread import ThreadWorker
from prometheus_client import multiprocess

# Others' packages are loaded before the port opens, as nine tenths of a start are theirs: a request that comes in while
# a worker loads the suite's own code, which a reload must find new, then waits a moment and not seconds.
for _package in (
    "dicttoxml",
    "environs",
    "flask",
    "jwt",
    "marshmallow",
    "msgspec",
    "prometheus_flask_exporter.multiprocess",
    "psycopg2",
    "redis",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.orm",
    "structlog",
    "urllib3",
    "xmltodict",
):
    importlib.import_module(_package)

# Read, never loaded: a worker that starts after `.env` changed must find its new values, not this process's.
_VARIABLES = {**dotenv_values(os.environ.get("HEARTGUARD_ENV_FILE", ".env"), interpolate=False), **os.environ}


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threads, but a worker that is told to end closes its door.

    gunicorn's own leaves the port open while it lingers for kept connections: whoever comes then waits, and is cut off
    at the end, when nobody can tell whether a write was done. Here all who knocked before are let in and answered, and
    who comes later is refused at once, so that the caller may ask another replica.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        """Begin or stop to take connections; for good, once the worker is told to end."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                while select.select([listener], [], [], 0)[0]:
                    self.accept(listener)
                listener.close()


bind = f"{os.environ.get('BIND_HOST', '127.0.0.1')}:{os.environ['PORT']}"
worker_class = Worker
workers = int(_VARIABLES.get("WEB_WORKERS") or 1)
threads = int(_VARIABLES.get("WEB_THREADS") or 8)
keepalive = 75
graceful_timeout = 10
timeout = 30
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
control_socket_disable = True
accesslog = None
errorlog = "-"
loglevel = "warning"


def post_worker_init(worker: Any) -> None:
    """Say that a worker has loaded the application: a reload waits for it before an old one goes."""
    if folder := os.environ.get("HEARTGUARD_READY_FOLDER"):
        Path(folder, str(worker.pid)).touch()


def child_exit(server: Any, worker: Any) -> None:
    """Forget a dead worker's readiness and gauges."""
    if folder := os.environ.get("HEARTGUARD_READY_FOLDER"):
        Path(folder, str(worker.pid)).unlink(missing_ok=True)
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
