"""How much slower the gateway answers while Redis is killed or frozen: `python -m tests.benchmarks.redis_away`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.benchmarks.results import write_section
from tests.gateway.clients import LIMITS, READERS, Clients, away, revoke
from tests.gateway.stage import Gateway, Service, environment, private_redis

SECONDS, TARGET_MS = 20.0, 250


def main() -> None:
    """Measure both, and write the section."""
    rows = []
    for how in ("killed", "frozen"):
        with tempfile.TemporaryDirectory() as folder, private_redis() as server:
            services = {name: Service() for name in ("auth", "patient")}
            ports = {name: service.port for name, service in services.items()}
            gateway = Gateway(Path(folder), environment(Path(folder), server.url, ports, LOG_LEVEL="WARNING", **LIMITS))
            gateway.start()
            try:
                revoke(server, services["auth"])
                clients = Clients.of(gateway).ask(2)
                before = clients.ask(SECONDS).seconds(0.99)
                with away(server, how):
                    clients.ask(SECONDS)
                middle, during, slowest = (clients.seconds(share) for share in (0.5, 0.99, 1.0))
            finally:
                gateway.stop()
            errors = sum(status >= 500 for client in clients.readers for status, _ in client.answers)
            count = sum(len(client.answers) for client in clients.readers)
            growth = (during - before) * 1000
            verdict = "met" if growth <= TARGET_MS else "missed"
            rows.append(
                f"| {how} | {count:,} | {errors} | {middle * 1000:.1f} ms | {before * 1000:.1f} ms"
                f" | {during * 1000:.1f} ms | {growth:+.1f} ms ({verdict}) | {slowest * 1000:.0f} ms |"
            )
    write_section(
        "Gateway while Redis is away",
        f"{READERS} readers without a pause, one writer over the limit, one revoked token; load, gateway and services"
        f" on the same two cores; {SECONDS:.0f} s each. Target: p99 grows by at most {TARGET_MS} ms.\n\n"
        "| Redis | reads | errors | p50 | p99 before | p99 while away | growth | slowest |\n"
        "|---|---|---|---|---|---|---|---|\n" + "\n".join(rows),
    )


if __name__ == "__main__":
    main()
