"""The programs of the suite itself: the gateway, and each service's web process and worker."""

from __future__ import annotations

import hashlib
import http.client
import sys
from pathlib import Path

from common.config import SERVICE_PORTS, package_of
from ops.native.servers.base import LOOPBACK, ROOT
from ops.native.settings import PASSWORDS, Runtime
from ops.native.supervision import Program

ANY_ADDRESS = ("0.0.0.0", "::")


def present_services() -> list[str]:
    """The gateway and the services whose packages stand in this checkout."""
    return [name for name in SERVICE_PORTS if (ROOT / package_of(name)).is_dir()]


def applications(runtime: Runtime) -> list[Program]:
    """Web process of each service, its worker, and the gateway."""
    found = []
    for name in present_services():
        environment = {"PORT": str(runtime.port(name)), **_withheld(name)}
        if name == "gateway":
            found.append(Program("gateway", [sys.executable, "-m", "gateway.serve"], environment=environment))
            continue
        web = [sys.executable, "-m", "gunicorn", "-c", "common/gunicorn.py", f"{package_of(name)}.app:app"]
        shared = {
            "PROMETHEUS_MULTIPROC_DIR": str(metrics_folder(runtime, name)),
            "HEARTGUARD_READY_FOLDER": str(ready_folder(runtime, name)),
            "BIND_HOST": LOOPBACK,
        }
        found.append(Program(f"{name}-web", web, environment=environment | shared))
        environment |= _worker_metrics(runtime, name)
        found.append(Program(f"{name}-worker", [sys.executable, "-m", "common.worker", name], environment=environment))
    return found


def _worker_metrics(runtime: Runtime, service: str) -> dict[str, str]:
    base = runtime.variables.get("WORKER_METRICS_BASE_PORT")
    number = SERVICE_PORTS[service] - SERVICE_PORTS["gateway"]
    return {"WORKER_METRICS_PORT": str(int(base) + number), "WORKER_METRICS_HOST": LOOPBACK} if base else {}


def _withheld(service: str) -> dict[str, str]:
    """Empties the secrets that only others use: an empty variable also hides the one in `.env`."""
    passwords = (*PASSWORDS, *(f"{name}_NEXT" for name in PASSWORDS))  # the next one while a password is changed
    secrets = (*passwords, "AUTH_SECRET_KEYS", "AUDIT_SIGNING_KEY")
    return {name: "" for name in secrets if not name.startswith(f"{service.upper()}_")}


def gateway_host(runtime: Runtime) -> str:
    """The address that the gateway listens on."""
    return runtime.variables.get("GATEWAY_HOST", LOOPBACK)


def metrics_folder(runtime: Runtime, service: str) -> Path:
    """Where the processes of a service share their metrics."""
    return runtime.state / "prometheus" / service


def ready_folder(runtime: Runtime, service: str) -> Path:
    """Where a service's web workers say that they have loaded the application."""
    return runtime.state / "workers" / service


def fingerprint(runtime: Runtime, configuration: str) -> str:
    """Changes with the settings, the set of programs and the code: then what runs is out of date."""
    digest = hashlib.sha256(configuration.encode())
    digest.update(repr(sorted(runtime.variables.items())).encode())
    for package in ("common", "ops/native", "ops/postgres", *map(package_of, SERVICE_PORTS)):
        for path in sorted((ROOT / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def service_of(program: str) -> str | None:
    """The service whose /ready a program answers; None for workers and servers."""
    service = program.removesuffix("-web")
    return service if service in SERVICE_PORTS else None


def answer_of(runtime: Runtime, service: str) -> tuple[int, str]:
    """Status and body of a service's /ready; status 0 and the reason when nobody answers."""
    host = gateway_host(runtime) if service == "gateway" else LOOPBACK
    return fetch(reachable(host), runtime.port(service), "/ready", timeout=3, most=2000)


def reachable(host: str) -> str:
    """The address at which this machine reaches what listens on `host`."""
    return LOOPBACK if host in ANY_ADDRESS else host


def fetch(host: str, port: int, path: str, *, timeout: float, most: int) -> tuple[int, str]:
    """Status and the first `most` bytes of a GET's body; status 0 and the reason when nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(most).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def is_ready(runtime: Runtime, service: str) -> bool:
    """True when the service's /ready says so."""
    return answer_of(runtime, service)[0] == http.client.OK
