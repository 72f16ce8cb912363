"""gunicorn's settings, the same for every service: `gunicorn -c common/gunicorn.py patient_service.app:app`."""

import os
from typing import Any

from prometheus_client import multiprocess

bind = f"{os.environ.get('BIND_HOST', '127.0.0.1')}:{os.environ['PORT']}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "1"))
threads = int(os.environ.get("WEB_THREADS", "8"))
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


def child_exit(server: Any, worker: Any) -> None:
    """Forget a dead worker's gauges."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
