"""What the tests of the device service share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

NOW = datetime.now(UTC)


def at(**ago):
    """A time as it stands on the wire."""
    return (NOW - timedelta(**ago)).isoformat().replace("+00:00", "Z")


def register(devices, person, type="ECG_1LEAD", **values):
    body = {"serial": f"SN-{uuid4()}", "type": type, "brand": "Ñandú", **values}
    answer = devices.call("POST", "/devices", person, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json["data"]


def assign(devices, person, device, patient_id, **times):
    body = {"patient_id": patient_id, **times}
    return devices.call("POST", f"/devices/{device['id']}/assignments", person, json=body)
