"""Measure the gateway beside its peers and write the table to RESULTS.md: `python -m tests.benchmarks.gateway`.

The gateway under test has one core; load, backend and Redis have the other. Quote the ratios, not the absolutes.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.gateway.peers import (
    FASTAPI,
    FASTIFY,
    GATEWAY,
    GATEWAY_CPU,
    HAPROXY,
    LOAD_CPU,
    PATIENT,
    PATIENT_ID,
    PEERS,
    Bench,
    Peer,
    start,
    wait_for,
)
from tests.benchmarks.results import write_section

DIRECT = "direct"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Measured:
    """The rounds of one candidate. Latencies in milliseconds, CPU in microseconds a request."""

    per_second: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)


def cpu_seconds(root: int) -> float:
    """CPU time of a process and its descendants so far."""
    children: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        children.setdefault(int(fields[1]), []).append(int(entry.name))
        used[int(entry.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    total, waiting = 0.0, [root]
    while waiting:
        pid = waiting.pop()
        total += used.get(pid, 0.0)
        waiting += children.get(pid, [])
    return total


def wrk(name: str, url: str, token: str, connections: int, seconds: int) -> tuple[int, float, float, float]:
    """Requests, requests a second, p50 and p99 in milliseconds. Exits when an answer is not 2xx."""
    command = ["taskset", "-c", LOAD_CPU, "wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "10s"]
    command += ["--latency", "-H", f"Authorization: Bearer {token}", "-H", "Accept: application/json", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"{name} failed under load (is the machine otherwise idle?):\n{text}")

    def number(pattern: str) -> float:
        return float(re.search(pattern, text)[1])

    def milliseconds(percent: int) -> float:
        value, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]

    requests = int(number(r"(\d+) requests in"))
    return requests, number(r"Requests/sec:\s+([\d.]+)"), milliseconds(50), milliseconds(99)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure(rounds: int, seconds: int, peers: tuple[Peer, ...]) -> tuple[dict[str, Measured], list[str]]:
    """Start everything, measure in interleaved rounds, end everything."""
    folder = Path(tempfile.mkdtemp(prefix="heartguard-benchmark-"))
    bench = Bench(folder, free_port(), free_port())
    path, absent, running = f"/patients/{PATIENT_ID}", [], []
    token = bench.token()
    headers = {"Authorization": f"Bearer {token}"}
    try:
        backend = bench.write("backend.conf", port=bench.backend_port, patient=PATIENT)
        running.append(
            start(["nginx", "-p", str(backend.parent), "-c", str(backend)], LOAD_CPU, folder / "backend.log")
        )
        redis = [
            "redis-server",
            "--port",
            str(bench.redis_port),
            "--save",
            "",
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
        ]
        running.append(start(redis, LOAD_CPU, folder / "redis.log"))
        bench.prepare_redis()
        candidates = {DIRECT: (f"{bench.backend}{path}", None)}
        for peer in peers:
            lacking = peer.lacking()
            if lacking:
                absent.append(f"{peer.name} ({lacking} is not installed)")
                continue
            port = free_port()
            try:
                command, environment = peer.command(bench, port)
            except (OSError, subprocess.CalledProcessError) as error:
                absent.append(f"{peer.name} (could not be installed: {error})")
                continue
            process = start(command, GATEWAY_CPU, folder / f"{peer.name}.log".replace(" ", "-"), environment)
            running.append(process)
            url = f"http://127.0.0.1:{port}{path}"
            problem = wait_for(url, headers)
            if problem and peer.name == GATEWAY:
                sys.exit(f"the gateway does not start: {problem}, see {folder}")
            if problem:
                absent.append(f"{peer.name} (does not start: {problem})")
                continue
            candidates[peer.name] = (url, process.pid)
        results = {name: Measured() for name in candidates}
        for number in range(rounds):
            for name, (url, pid) in candidates.items():
                print(f"round {number + 1}/{rounds}: {name}", file=sys.stderr)
                measure_once(name, results[name], url, pid, token, seconds)
        return results, absent
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(10)
        shutil.rmtree(folder)


def measure_once(name: str, result: Measured, url: str, pid: int | None, token: str, seconds: int) -> None:
    """Warm up, then throughput and CPU at 32 connections, latency at 4."""
    wrk(name, url, token, 32, 1)
    before = cpu_seconds(pid) if pid else 0.0
    requests, per_second, _, _ = wrk(name, url, token, 32, seconds)
    used = cpu_seconds(pid) - before if pid else 0.0
    _, _, p50, p99 = wrk(name, url, token, 4, seconds)
    result.per_second.append(per_second)
    result.cpu.append(used / requests * 1_000_000)
    result.p50.append(p50)
    result.p99.append(p99)


def table(results: dict[str, Measured]) -> str:
    """Medians and ratios as a Markdown table."""
    median = statistics.median
    direct = median(results[DIRECT].p50)
    gateway = median(results[GATEWAY].per_second)
    lines = [
        "| gateway | requests/s per core, 32 conn. | CPU us per request | p50 / p99 ms, 4 conn. "
        "| p50 added to direct, ms | gateway is x times as fast |",
        "|---|---|---|---|---|---|",
    ]
    for name, measured in results.items():
        latency = f"{median(measured.p50):.2f} / {median(measured.p99):.2f}"
        if name == DIRECT:
            lines.append(f"| {name} (not limited to a core) | {median(measured.per_second):,.0f} | | {latency} | 0 | |")
            continue
        speed = median(measured.per_second)
        lines.append(
            f"| {name} | {speed:,.0f} | {median(measured.cpu):.0f} | {latency} "
            f"| {median(measured.p50) - direct:.2f} | {gateway / speed:.2f} |"
        )
    return "\n".join(lines)


def verdicts(results: dict[str, Measured]) -> list[tuple[str, bool]]:
    """The targets whose peers are present, each with whether it is met."""
    median = statistics.median
    gateway = results[GATEWAY]
    found = []
    for peer, least in ((FASTIFY, 1.0), (FASTAPI, 10.0), (FASTIFY, 2.0), (HAPROXY, 0.4)):
        if peer in results:
            ratio = median(gateway.per_second) / median(results[peer].per_second)
            found.append((f"{ratio:.2f}x {peer} (target {least}x)", ratio >= least))
    added = median(gateway.p50) - median(results[DIRECT].p50)
    found.append((f"p50 added {added:.2f} ms (target 1 ms)", added <= 1.0))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="peers to compare with; RESULTS.md then stays as it is")
    options = parser.parse_args()
    peers = tuple(peer for peer in PEERS if not options.only or peer.name in (GATEWAY, *options.only))
    for program in ("wrk", "nginx", "redis-server", "taskset"):
        if shutil.which(program) is None:
            sys.exit(f"the benchmark needs {program}")
    results, absent = measure(options.rounds, options.seconds, peers)
    text = table(results)
    outcome = verdicts(results)
    lines = [
        f"GET of a 1 KB patient, one core for the gateway, the other for load, backend and Redis; median of "
        f"{options.rounds} interleaved rounds. Python {platform.python_version()}, {os.cpu_count()} cores.",
        "",
        text,
        "",
        *(f"- {'met' if met else 'missed'}: {what}" for what, met in outcome),
        *(f"- absent: {name}" for name in absent),
    ]
    if not options.only:
        write_section("Gateway beside its peers", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
