"""Checks a running suite from outside: every service's health, and a real read and write of each, in JSON and XML.

Run by `./validate_endpoints.sh`. What it makes carries the prefix `check-` and is removed where the API can.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import dicttoxml
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError

from ops.client import CallFailed, Client, gateway_url, operator

SERVICES = [
    "auth",
    "organization",
    "user",
    "patient",
    "device",
    "influx",
    "inference",
    "alert",
    "notification",
    "media",
    "audit",
]  # the gateway is the one that answers


@dataclass
class Result:
    """One check."""

    service: str
    what: str
    format: str
    passed: bool
    milliseconds: float
    note: str = ""


class Formatted:
    """The same calls in one of the two formats; checks that every answer is well formed and says success."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self.name = client, name
        self.host = urlsplit(client.base_url).hostname

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, str]:
        """The facts of the answer's `data` (of its first item for a list); `outer/inner` names a nested one."""
        headers = {"Accept": f"application/{self.name}"}
        encoded = None
        if body is not None:
            headers["Content-Type"] = f"application/{self.name}"
            encoded = json.dumps(body).encode() if self.name == "json" else _xml(body)
        answer = self._client.send(method, path, encoded, headers)
        if answer.status == 204:
            return {}
        status, data, problem = self._read(answer)
        if answer.status >= 400 or status != "success":
            raise CallFailed(f"{method} {path}: {answer.status} {problem}")
        return data

    def _read(self, answer: Any) -> tuple[str, dict[str, str], str]:
        if not answer.headers.get("Content-Type", "").startswith(f"application/{self.name}"):
            raise CallFailed(f"{answer.status} as {answer.headers.get('Content-Type')}")
        if self.name == "json":
            document = answer.json()
            data = document.get("data", {})
            item = data[0] if isinstance(data, list) and data else data
            facts = _flat(item) if isinstance(item, dict) else {}
            return document["status"], facts, str(document.get("error", {}).get("id", ""))
        root = ElementTree.fromstring(answer.data)
        if root.tag != "response":
            raise CallFailed(f"root element {root.tag}")
        node = root.find("data/item") if root.find("data/item") is not None else root.find("data")
        facts = {}
        for child in node if node is not None else ():
            facts[child.tag] = child.text or ""
            facts |= {f"{child.tag}/{inner.tag}": inner.text or "" for inner in child}
        return root.findtext("status") or "", facts, root.findtext("error/id") or ""


def _flat(item: dict[str, Any]) -> dict[str, str]:
    facts = {}
    for name, value in item.items():
        inner = value if isinstance(value, dict) else {}
        facts |= {name: str(value), **{f"{name}/{key}": str(part) for key, part in inner.items()}}
    return facts


def _xml(body: dict[str, Any]) -> bytes:
    rendered: bytes = dicttoxml.dicttoxml(body, custom_root="request", attr_type=False)
    return rendered


Check = tuple[str, str, Callable[[Formatted], Any]]


def checks(scene: dict[str, str]) -> Iterator[Check]:
    """Every check in an order in which each finds what it needs; `scene` keeps ids from one to the next."""
    mark = secrets.token_hex(3)

    def keep(name: str, facts: dict[str, str]) -> None:
        scene[name] = facts["id"]

    org = lambda: f"org_id={scene['organization']}"  # noqa: E731
    yield (
        "organization",
        "write",
        lambda c: keep(
            "organization", c.call("POST", "/organizations", {"code": f"check-{mark}-{c.name}", "name": "Comprobación"})
        ),
    )
    yield "organization", "read", lambda c: c.call("GET", f"/organizations/{scene['organization']}?{org()}")
    yield (
        "auth",
        "write",
        lambda c: keep(
            "user",
            c.call(
                "POST",
                f"/auth/users?{org()}",
                {
                    "name": "Comprobación",
                    "email": f"check-{mark}-{c.name}@check.test",
                    "password": secrets.token_urlsafe(18),
                    "roles": ["clinician"],
                },
            ),
        ),
    )
    yield "auth", "read", lambda c: c.call("GET", f"/auth/users?{org()}")
    yield (
        "user",
        "write",
        lambda c: c.call("PATCH", f"/users/{scene['user']}?{org()}", {"display_name": "Comprobación"}),
    )
    yield "user", "read", lambda c: c.call("GET", f"/users?{org()}")
    yield (
        "patient",
        "write",
        lambda c: keep(
            "patient",
            c.call("POST", f"/patients?{org()}", {"name": "Comprobación", "birthdate": "1950-01-01", "sex": "F"}),
        ),
    )
    yield "patient", "read", lambda c: c.call("GET", f"/patients/{scene['patient']}?{org()}")
    yield "device", "write", lambda c: _device(c, scene, f"CHECK-{mark}-{c.name}", org())
    yield "device", "read", lambda c: c.call("GET", f"/devices/{scene['device']}?{org()}")
    yield "influx", "write", lambda c: _samples(c, scene, org())
    yield (
        "influx",
        "read",
        lambda c: c.call(
            "GET", f"/timeseries/query?{org()}&stream_id={scene['stream']}&start={scene['start']}&stop={scene['stop']}"
        ),
    )
    yield "inference", "read", lambda c: c.call("GET", f"/models?{org()}")
    yield "inference", "write", lambda c: _ground_truth(c, scene, org())
    yield (
        "alert",
        "write",
        lambda c: keep(
            "alert",
            c.call(
                "POST", f"/alerts?{org()}", {"patient_id": scene["patient"], "type": "GENERAL_RISK", "level": "low"}
            ),
        ),
    )
    yield "alert", "read", lambda c: c.call("GET", f"/alerts/{scene['alert']}?{org()}")
    yield (
        "notification",
        "write",
        lambda c: c.call(
            "POST",
            f"/push-devices?{org()}",
            {"platform": "android", "token": f"check-{mark}-{c.name}-{secrets.token_hex(16)}"},
        ),
    )
    yield "notification", "read", lambda c: c.call("GET", f"/notifications?{org()}")
    yield "media", "write", lambda c: _file(c, scene, org())
    yield "media", "read", lambda c: c.call("GET", f"/media?{org()}")
    yield "audit", "read", lambda c: _audited(c, scene)
    yield "patient", "delete", lambda c: c.call("DELETE", f"/patients/{scene['patient']}?{org()}")


def _device(client: Formatted, scene: dict[str, str], serial: str, org: str) -> None:
    device = client.call("POST", f"/devices?{org}", {"serial": serial, "type": "ECG_1LEAD"})
    scene["device"] = device["id"]
    client.call("POST", f"/devices/{device['id']}/assignments?{org}", {"patient_id": scene["patient"]})
    stream = client.call(
        "POST", f"/devices/{device['id']}/streams?{org}", {"signal_type": "ECG", "sample_rate_hz": 250, "unit": "mV"}
    )
    scene["stream"] = stream["id"]
    client.call("POST", f"/streams/{stream['id']}/bindings?{org}", {"bucket": "heartguard_signals"})


def _samples(client: Formatted, scene: dict[str, str], org: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    scene["start"] = now.isoformat().replace("+00:00", "Z")
    body = {"stream_id": scene["stream"], "started_at": scene["start"], "values": [0.0, 0.1, 0.2, 0.1]}
    scene["stop"] = now.isoformat().replace("+00:00", "Z").replace("Z", ".900000Z")
    client.call("POST", f"/timeseries/write?{org}", body)


def _ground_truth(client: Formatted, scene: dict[str, str], org: str) -> None:
    body = {
        "patient_id": scene["patient"],
        "event_type": "ARRHYTHMIA",
        "onset_at": scene["start"],
        "ended_at": scene["stop"],
    }
    client.call("POST", f"/ground-truth?{org}", body)


def _file(client: Formatted, scene: dict[str, str], org: str) -> str:
    """A file's whole way; only announced and removed where the store is out of reach from here, as the remark says."""
    content = b"HeartGuard"
    body = {"filename": "check.txt", "content_type": "text/plain", "size_bytes": len(content)}
    owner = {"owner_kind": "patient", "owner_id": scene["patient"]}
    upload = client.call("POST", f"/media/uploads?{org}", body | owner)
    remark = _send(upload, content, client.host)
    if not remark:
        client.call("POST", f"/media/{upload['id']}/complete?{org}")
    client.call("DELETE", f"/media/{upload['id']}?{org}")
    return remark


def _send(upload: dict[str, str], content: bytes, gateway: str | None) -> str:
    """Send the bytes by the signed link; a remark instead where it leads to another machine that cannot be reached."""
    store = urlsplit(upload["url"]).hostname
    headers = {name.removeprefix("headers/"): value for name, value in upload.items() if name.startswith("headers/")}
    try:
        answer = urllib3.request(
            upload["method"], upload["url"], body=content, headers=headers, timeout=5, retries=False
        )
    except ConnectTimeoutError as error:
        if store == gateway:
            raise CallFailed(f"the store at {store} cannot be reached") from error
        return f"announced only: the store at {store} cannot be reached from here"
    if answer.status != 200:
        raise CallFailed(f"the store answered {answer.status}")
    return ""


def _audited(client: Formatted, scene: dict[str, str]) -> None:
    """The patient's registration must arrive in the audit trail: outbox, broker and consumer work."""
    deadline = time.monotonic() + 10
    path = f"/audit/logs?org_id={scene['organization']}&action=patient.registered&entity_id={scene['patient']}"
    while not client.call("GET", path).get("id"):
        if time.monotonic() > deadline:
            raise CallFailed("the audit row did not arrive within 10 s")
        time.sleep(0.2)


def run(client: Client) -> Iterator[Result]:
    """Run all checks in both formats."""
    for name in ("json", "xml"):
        formatted = Formatted(client, name)
        for service, state in _health(client, formatted):
            yield Result(service, "health", name, state == "up", 0.0, "" if state == "up" else state)
        for service, what, check in checks({}):
            started = time.perf_counter()
            try:
                remark = check(formatted)
                passed, note = True, remark if isinstance(remark, str) else ""
            except (CallFailed, HTTPError, KeyError, ElementTree.ParseError, ValueError) as error:
                passed, note = False, f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
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
