"""How each gateway of the comparison is started. Each is optional and says what it lacks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from common.revocation import Revocations
from common.tokens import ACCESS_SECONDS, AUDIENCE, TokenSigner
from gateway.config import GatewaySettings

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PATIENT_ID = "0198b7a2-5c1e-7c44-9a51-3d2f4b6a7c88"
PATIENT = json.dumps({"status": "success", "data": {"id": PATIENT_ID, "note": "x" * 900}})
SECRET = "benchmark-secret-long-enough-for-hs256"
LIMIT = 100_000_000  # never reached: what costs is asking
GATEWAY_CPU, LOAD_CPU = "0", "1"


@dataclass(frozen=True)
class Bench:
    """Addresses and the folder of one run."""

    folder: Path
    backend_port: int
    redis_port: int

    @property
    def backend(self) -> str:
        return f"http://127.0.0.1:{self.backend_port}"

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"

    def environment(self) -> dict[str, str]:
        """The gateway's own settings."""
        limits = ",".join(f"{name}={LIMIT}" for name in ("read", "write", "ingest", "ack", "login"))
        return {
            "HEARTGUARD_ENV_FILE": os.devnull,
            "JWT_SIGNING_KEYS": f"bench:{SECRET}",
            "INTERNAL_SIGNING_KEYS": f"bench:{SECRET[::-1]}",
            "REDIS_URL": self.redis_url,
            "PATIENT_URL": self.backend,
            "RATE_LIMITS_IP": limits,
            "RATE_LIMITS_USER": limits,
            "GATEWAY_ROUTES_FILE": str(self.folder / "routes.json"),
        }

    def token(self) -> str:
        """A clinician's access token of an ordinary size."""
        os.environ.update(self.environment())
        permissions = [f"{name}:read" for name in ("alert", "device", "inference", "patient", "timeseries", "user")]
        signer = TokenSigner(GatewaySettings.load("gateway"), AUDIENCE)
        return signer.sign(PATIENT_ID, seconds=ACCESS_SECONDS, roles=["clinician"], permissions=permissions)

    def prepare_redis(self) -> None:
        """Wait for Redis, and say what auth_service says in production: it knows of every revocation."""
        with redis.Redis.from_url(self.redis_url, retry=Retry(ConstantBackoff(0.1), 50)) as client:
            Revocations(client).mark_complete()

    def write(self, template: str, **values: object) -> Path:
        """A configuration file from `peers/<template>`, in a folder of its own."""
        folder = Path(tempfile.mkdtemp(prefix=f"{template.partition('.')[0]}-", dir=self.folder))
        path = folder / template
        text = Template((HERE / "peers" / template).read_text())
        path.write_text(text.substitute(folder=folder, backend_port=self.backend_port, **values))
        return path


@dataclass(frozen=True)
class Peer:
    """A name, what to run on a port, and the programs without which it stays out."""

    name: str
    command: Callable[[Bench, int], tuple[list[str], dict[str, str]]]
    needs: tuple[str, ...] = ()

    def lacking(self) -> str | None:
        """The first program that this machine does not have."""
        return next((program for program in self.needs if shutil.which(program) is None), None)


def start(
    command: list[str], cpu: str, log: Path, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Run `command` on one core with its output in a file (what an access log costs counts)."""
    with log.open("wb") as output:
        return subprocess.Popen(
            ["taskset", "-c", cpu, *command],
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )


def wait_for(url: str, headers: dict[str, str], seconds: float = 20.0) -> str | None:
    """None once `url` answers 200, else what went wrong last."""
    problem = "no answer"
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=2) as answer:
                answer.read()
                return None
        except OSError as error:
            problem = str(error)
            time.sleep(0.1)
    return problem


def _cached(kind: str, manifest: Path, install: Callable[[Path], None]) -> Path:
    """A folder outside the checkout where `manifest` is installed; made once for each version of it."""
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"heartguard-benchmark-{kind}-{digest}"
    if not (folder / "installed").exists():
        folder.mkdir(exist_ok=True)
        install(folder)
        (folder / "installed").touch()
    return folder


def _node(script: str) -> Callable[[Bench, int], tuple[list[str], dict[str, str]]]:
    def command(bench: Bench, port: int) -> tuple[list[str], dict[str, str]]:
        def install(folder: Path) -> None:
            shutil.copy(HERE / "peers" / "package.json", folder)
            subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)

        folder = _cached("node", HERE / "peers" / "package.json", install)
        shutil.copy(HERE / "peers" / script, folder)  # node resolves packages from the script's folder
        return ["node", str(folder / script)], {**_shared(bench, port), "NODE_ENV": "production"}

    return command


def _fastapi(bench: Bench, port: int) -> tuple[list[str], dict[str, str]]:
    def install(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        requirements = HERE / "peers" / "requirements.txt"
        subprocess.run([folder / "bin" / "pip", "install", "-qq", "-r", requirements], check=True)

    folder = _cached("fastapi", HERE / "peers" / "requirements.txt", install)
    uvicorn = [
        str(folder / "bin" / "uvicorn"),
        "--app-dir",
        str(HERE / "peers"),
        "--port",
        str(port),
        "fastapi_gateway:app",
    ]
    return uvicorn, _shared(bench, port)


def _shared(bench: Bench, port: int) -> dict[str, str]:
    return {
        "PORT": str(port),
        "BACKEND": bench.backend,
        "REDIS_URL": bench.redis_url,
        "JWT_SECRET": SECRET,
        "JWT_ISSUER": "heartguard",
        "LIMIT": str(LIMIT),
    }


def _gateway(bench: Bench, port: int) -> tuple[list[str], dict[str, str]]:
    route = {
        "service": "patient",
        "method": "GET",
        "path": "/patients/{patient_id}",
        "permission": "patient:read",
        "rate_class": "read",
        "max_body": 1024 * 1024,
        "stream": False,
        "types": {"patient_id": "uuid"},
    }
    (bench.folder / "routes.json").write_text(json.dumps([route]))
    return [sys.executable, "-m", "gateway.serve"], {**bench.environment(), "GATEWAY_PORT": str(port)}


def _haproxy(bench: Bench, port: int) -> tuple[list[str], dict[str, str]]:
    path = bench.write("haproxy.cfg", port=port, limit=LIMIT, secret=SECRET, issuer="heartguard")
    return ["haproxy", "-f", str(path)], {}


def _nginx(bench: Bench, port: int) -> tuple[list[str], dict[str, str]]:
    path = bench.write("nginx.conf", port=port)
    return ["nginx", "-p", str(path.parent), "-c", str(path)], {}


GATEWAY = "HeartGuard gateway"
FASTIFY, FASTAPI, HAPROXY = "Fastify", "FastAPI + httpx", "HAProxy"
PEERS = (
    Peer(HAPROXY, _haproxy, ("haproxy",)),
    Peer("nginx (no JWT)", _nginx, ("nginx",)),
    Peer(GATEWAY, _gateway),
    Peer(FASTIFY, _node("fastify.mjs"), ("node", "npm")),
    Peer("Express", _node("express.mjs"), ("node", "npm")),
    Peer(FASTAPI, _fastapi),
)
