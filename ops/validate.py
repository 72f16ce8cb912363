"""Checks a running suite from outside: every service's health, and a real read and write of each, in JSON and XML.

Run by `./validate_endpoints.sh`. What it makes carries the prefix `check-` and is removed where the API can.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from urllib3.exceptions import HTTPError

from common.config import SERVICES
from ops.checks import Formatted, Walk
from ops.client import CallFailed, Client, gateway_url, operator


@dataclass
class Result:
    """One check."""

    service: str
    what: str
    format: str
    passed: bool
    milliseconds: float
    note: str = ""


def run(client: Client) -> Iterator[Result]:
    """Run all checks in both formats."""
    for name in ("json", "xml"):
        formatted = Formatted(client, name)
        for service, state in _health(client, formatted):
            yield Result(service, "health", name, state == "up", 0.0, "" if state == "up" else state)
        for what, service, check in Walk(formatted).checks():
            started = time.perf_counter()
            try:
                passed, note = True, check() or ""
            except (CallFailed, HTTPError, ElementTree.ParseError, ValueError) as error:
                passed, note = False, str(error)
            except KeyError as error:  # an earlier check was to bring it
                passed, note = False, f"without {error}"
            yield Result(service, what, name, passed, (time.perf_counter() - started) * 1000, note)


def _health(client: Client, formatted: Formatted) -> list[tuple[str, str]]:
    answer = client.send("GET", "/gateway/health", headers={"Accept": f"application/{formatted.name}"})
    if formatted.name == "json":
        services = {item["name"]: item["state"] for item in answer.json()["data"]["services"]}
    else:
        root = ElementTree.fromstring(answer.data)
        items = root.findall("data/services/item")
        services = {item.findtext("name") or "": item.findtext("state") or "" for item in items}
    return [("gateway", "up"), *((name, services.get(name, "missing")) for name in SERVICES)]


def main() -> int:
    """Print a table of results; exit code 0 only if all passed."""
    parser = argparse.ArgumentParser(prog="validate_endpoints.sh", description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int)
    parser.add_argument("--user", help="a superadmin's e-mail (default: sign with this machine's key)")
    parser.add_argument("--password", help="or in HEARTGUARD_PASSWORD")
    chosen = parser.parse_args()
    base_url = gateway_url(chosen.host, chosen.port)
    print(f"Checking {base_url}\n\n  {'service':<14}{'check':<10}{'format':<8}{'result':<8}{'time':>9}", flush=True)
    failed = total = 0
    try:
        for item in run(operator(base_url, chosen.user, chosen.password)):
            total += 1
            failed += not item.passed
            verdict = "ok" if item.passed else "FAILED"
            duration = f"{item.milliseconds:7.0f} ms" if item.milliseconds else ""
            print(
                f"  {item.service:<14}{item.what:<10}{item.format:<8}{verdict:<8}{duration:>9}  {item.note}", flush=True
            )
    except (CallFailed, HTTPError, OSError) as error:
        print(f"\nThe gateway could not be asked: {error}", file=sys.stderr)
        return 2
    print(f"\n{total - failed} of {total} checks passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
