"""What `./validate_endpoints.sh` does with each service: one real write and one real read, as a client would."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import dicttoxml
import urllib3
from urllib3.exceptions import ConnectTimeoutError

from ops.client import CallFailed, Client, wire

ARRIVAL_S = 10.0


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
    facts: dict[str, str] = {}
    for name, value in item.items():
        inner = value if isinstance(value, dict) else {}
        facts |= {name: str(value), **{f"{name}/{key}": str(part) for key, part in inner.items()}}
    return facts


def _xml(body: dict[str, Any]) -> bytes:
    rendered: bytes = dicttoxml.dicttoxml(body, custom_root="request", attr_type=False)
    return rendered


class Walk:
    """One pass through the suite; each method is a check, `what_service`, and leaves what the next ones need.

    A check returns a remark for the table, or nothing; it raises CallFailed where the service did not do its part.
    """

    def __init__(self, client: Formatted) -> None:
        self._client = client
        self._mark = f"{secrets.token_hex(3)}-{client.name}"
        self._made: dict[str, str] = {}
        self._start = datetime.now(UTC).replace(microsecond=0)

    def checks(self) -> Iterator[tuple[str, str, Callable[[], str | None]]]:
        """What, service and the check itself, in the order in which they stand below."""
        for name in vars(type(self)):
            if not name.startswith("_") and name != "checks":
                what, service = name.split("_")
                yield what, service, getattr(self, name)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, str]:
        """A call in the organisation that was made for the purpose."""
        joint = "&" if "?" in path else "?"
        return self._client.call(method, f"{path}{joint}org_id={self._made['organization']}", body)

    def _make(self, kind: str, path: str, body: dict[str, Any]) -> dict[str, str]:
        facts = self._call("POST", path, body)
        self._made[kind] = facts["id"]
        return facts

    def write_organization(self) -> None:
        """Found an organisation."""
        body = {"code": f"check-{self._mark}", "name": "Comprobación"}
        self._made["organization"] = self._client.call("POST", "/organizations", body)["id"]

    def read_organization(self) -> None:
        """Read it."""
        self._call("GET", f"/organizations/{self._made['organization']}")

    def write_auth(self) -> None:
        """Give a clinician an account."""
        body = {
            "name": "Comprobación",
            "email": f"check-{self._mark}@check.test",
            "password": secrets.token_urlsafe(18),
            "roles": ["clinician"],
        }
        self._make("user", "/auth/users", body)

    def read_auth(self) -> None:
        """List accounts."""
        self._call("GET", "/auth/users")

    def write_user(self) -> None:
        """Name the clinician."""
        self._call("PATCH", f"/users/{self._made['user']}", {"display_name": "Comprobación"})

    def read_user(self) -> None:
        """List people."""
        self._call("GET", "/users")

    def write_patient(self) -> None:
        """Register a patient."""
        self._make("patient", "/patients", {"name": "Comprobación", "birthdate": "1950-01-01", "sex": "F"})

    def read_patient(self) -> None:
        """Read the patient."""
        self._call("GET", f"/patients/{self._made['patient']}")

    def write_device(self) -> None:
        """Put a device on the patient and open a stream."""
        device = self._make("device", "/devices", {"serial": f"CHECK-{self._mark}", "type": "ECG_1LEAD"})["id"]
        self._call("POST", f"/devices/{device}/assignments", {"patient_id": self._made["patient"]})
        stream = {"signal_type": "ECG", "sample_rate_hz": 250, "unit": "mV"}
        self._make("stream", f"/devices/{device}/streams", stream)
        self._call("POST", f"/streams/{self._made['stream']}/bindings", {"bucket": "heartguard_signals"})

    def read_device(self) -> None:
        """Read the device."""
        self._call("GET", f"/devices/{self._made['device']}")

    def write_influx(self) -> None:
        """Write four samples."""
        body = {
            "stream_id": self._made["stream"],
            "started_at": self._start.isoformat(),
            "values": [0.0, 0.1, 0.2, 0.1],
        }
        self._call("POST", "/timeseries/write", body)

    def read_influx(self) -> None:
        """Read them back."""
        span = f"start={wire(self._start)}&stop={wire(self._start + timedelta(seconds=1))}"
        self._call("GET", f"/timeseries/query?stream_id={self._made['stream']}&{span}")

    def read_inference(self) -> None:
        """List models."""
        self._call("GET", "/models")

    def write_inference(self) -> None:
        """Say what really happened."""
        body = {
            "patient_id": self._made["patient"],
            "event_type": "ARRHYTHMIA",
            "onset_at": self._start.isoformat(),
            "ended_at": (self._start + timedelta(seconds=1)).isoformat(),
        }
        self._call("POST", "/ground-truth", body)

    def write_alert(self) -> None:
        """Raise an alert that pages nobody."""
        self._make("alert", "/alerts", {"patient_id": self._made["patient"], "type": "GENERAL_RISK", "level": "low"})

    def read_alert(self) -> None:
        """Read it."""
        self._call("GET", f"/alerts/{self._made['alert']}")

    def write_notification(self) -> None:
        """Register a telephone."""
        token = f"check-{self._mark}-{secrets.token_hex(16)}"
        self._call("POST", "/push-devices", {"platform": "android", "token": token})

    def read_notification(self) -> None:
        """List deliveries."""
        self._call("GET", "/notifications")

    def write_media(self) -> str:
        """A file's whole way; only announced and removed where the store is out of reach from here."""
        content = b"HeartGuard"
        body = {
            "filename": "check.txt",
            "content_type": "text/plain",
            "size_bytes": len(content),
            "owner_kind": "patient",
            "owner_id": self._made["patient"],
        }
        upload = self._call("POST", "/media/uploads", body)
        remark = _send(upload, content, self._client.host)
        if not remark:
            self._call("POST", f"/media/{upload['id']}/complete")
        self._call("DELETE", f"/media/{upload['id']}")
        return remark

    def read_media(self) -> None:
        """List files."""
        self._call("GET", "/media")

    def read_audit(self) -> None:
        """The patient's registration must arrive in the trail: outbox, broker and consumer work."""
        deadline = time.monotonic() + ARRIVAL_S
        path = f"/audit/logs?action=patient.registered&entity_id={self._made['patient']}"
        while not self._call("GET", path).get("id"):
            if time.monotonic() > deadline:
                raise CallFailed(f"the audit row did not arrive within {ARRIVAL_S:.0f} s")
            time.sleep(0.2)

    def remove_patient(self) -> None:
        """Remove the patient."""
        self._call("DELETE", f"/patients/{self._made['patient']}")


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
