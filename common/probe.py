"""`python common/probe.py`: the health check of a container; exit status 0 when what runs in it is ready.

A web process is asked for `/ready`, a worker (which has no other port) for its metrics. Only the standard library: it
runs every few seconds in each container.
"""

import http.client
import os
import sys

TIMEOUT_S = 4


def main() -> int:
    """Ask once; 1 and the reason when the answer is not 200."""
    worker = os.environ.get("WORKER_METRICS_PORT")
    port, path = (worker, "/metrics") if worker else (os.environ["PORT"], "/ready")
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(2000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        print(f"port {port}: {error}")
        return 1
    if answer.status != http.client.OK:
        print(f"{path}: {answer.status} {body}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
