"""`python -m ops.demo [RECORDING]`: plays a heart recording through the gateway and shows the alarm that arises.

Everything goes through the public API, as a JSON client would: organisation, clinician, care team, patient, device,
stream, samples; then the alert's way to the mailbox, its acknowledgement, resolution and closing, and the audit trail.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from ops.client import CallFailed, Client, gateway_url, operator, wire
from ops.recordings import Recording, UnreadableRecording, read_recording

DEFAULT_RECORDING = Path(__file__).resolve().parent.parent / "tests" / "data" / "mitdb_208_excerpt"
DEVICE_TYPES = {"ECG": "ECG_1LEAD", "SpO2": "PULSE_OX", "HR": "PULSE_OX", "BP": "BP_CUFF", "TEMP": "THERMOMETER"}
BATCH_S = 5.0
BAR_WIDTH = 40
GRACE_S = 30.0
MARGIN = timedelta(minutes=1)


@dataclass
class Scene:
    """Who and what the demo made."""

    clinician: Client
    organization_id: str
    patient_id: str
    stream_id: str
    email: str


def step(text: str) -> None:
    """Say what is done."""
    print(f"  {text}", flush=True)


def set_up(admin: Client, base_url: str, recording: Recording) -> Scene:
    """An organisation with a clinician, a care team, a patient, a device on the patient, and a bound stream."""
    mark = secrets.token_hex(3)
    organization = admin.post("/organizations", {"code": f"demo-{mark}", "name": f"Clínica de demostración {mark}"})
    step(f"organisation  {organization['code']}")
    email, password = f"cardiologa.{mark}@demo.test", secrets.token_urlsafe(18)
    account = {"name": "Cardióloga de guardia", "email": email, "password": password, "roles": ["clinician"]}
    user = admin.post(f"/auth/users?org_id={organization['id']}", account)
    clinician = Client(base_url)
    clinician.login(email, password)
    step(f"clinician     {email}, logged in")
    team = clinician.post("/care-teams", {"name": "Guardia de cardiología"})
    clinician.post(f"/care-teams/{team['id']}/members", {"user_id": user["id"], "role": "doctor"})
    patient = clinician.post("/patients", {"name": "Paciente de demostración", "birthdate": "1950-01-01", "sex": "F"})
    clinician.post(f"/patients/{patient['id']}/care-teams", {"care_team_id": team["id"]})
    step(f"patient       {patient['id']}, in the care of the team")
    kind = DEVICE_TYPES.get(recording.signal, "WEARABLE")
    device = clinician.post("/devices", {"serial": f"DEMO-{mark}", "type": kind, "brand": "HeartGuard"})
    # The recording's clock starts in the past, so that it ends about now: the device was on the patient by then.
    length = timedelta(seconds=len(recording.samples) / recording.sample_rate_hz)
    since = wire(datetime.now(UTC) - length - MARGIN)
    clinician.post(f"/devices/{device['id']}/assignments", {"patient_id": patient["id"], "starts_at": since})
    stream = clinician.post(
        f"/devices/{device['id']}/streams",
        {
            "signal_type": recording.signal,
            "sample_rate_hz": recording.sample_rate_hz,
            "unit": recording.unit,
            "channel": recording.channel,
            "started_at": since,
        },
    )
    clinician.post(f"/streams/{stream['id']}/bindings", {"bucket": "heartguard_signals"})
    step(f"device        {device['serial']}, stream {recording.signal} at {recording.sample_rate_hz:g} Hz")
    return Scene(clinician, organization["id"], patient["id"], stream["id"], email)


@dataclass
class Replay:
    """When which stretch of the recording was written: (data time of its end, wall time of the answer, request id)."""

    batches: list[tuple[datetime, datetime, str]]

    def that_covered(self, observed_at: datetime) -> tuple[datetime, datetime, str]:
        """The batch that brought the sample of `observed_at`."""
        return next((batch for batch in self.batches if batch[0] >= observed_at), self.batches[-1])


def replay(scene: Scene, recording: Recording, speed: float) -> tuple[Replay, dict[str, Any] | None]:
    """Write the recording at its own rate, `speed` times as fast, until its end; returns the first paged alert too."""
    rate, total = recording.sample_rate_hz, len(recording.samples)
    started_at = datetime.now(UTC) - timedelta(seconds=total / rate)
    size = max(1, round(BATCH_S * rate))
    started, done, alert = time.monotonic(), Replay([]), None
    for first in range(0, total, size):
        chunk = recording.samples[first : first + size]
        taken_at = started_at + timedelta(seconds=first / rate)
        request_id = f"demo-{uuid4()}"
        body = {
            "stream_id": scene.stream_id,
            "started_at": wire(taken_at),
            "values": [round(float(value), 4) for value in chunk],
        }
        scene.clinician.post("/timeseries/write", body, request_id)
        end = taken_at + timedelta(seconds=len(chunk) / rate)
        done.batches.append((end, datetime.now(UTC), request_id))
        alert = alert or find_alert(scene)
        draw_progress((first + len(chunk)) / total, (first + len(chunk)) / rate, alert)
        ahead = (first + len(chunk)) / rate / speed - (time.monotonic() - started)
        time.sleep(max(0.0, ahead))
    print()
    return done, alert


def draw_progress(fraction: float, seconds: float, alert: dict[str, Any] | None) -> None:
    """One line that fills up; on something other than a terminal, one line at the end."""
    if not sys.stdout.isatty() and fraction < 1:
        return
    bar = "█" * round(fraction * BAR_WIDTH)
    note = f"  alarm: {alert['type']} {alert['level']}" if alert else ""
    clock = f"{int(seconds // 60)}:{int(seconds % 60):02d}"
    print(f"\r  {bar:<{BAR_WIDTH}} {fraction:4.0%}  {clock} of heart{note}", end="", flush=True)


def find_alert(scene: Scene) -> dict[str, Any] | None:
    """The first alert of the patient that is worth a page."""
    query = f"/alerts?patient={scene.patient_id}&level=medium&level=high&level=critical"
    alerts = scene.clinician.get(query)
    return alerts[-1] if alerts else None


def wait_for(what: str, look: Any) -> Any:
    """What `look()` finds, within a bounded time; raises CallFailed."""
    deadline = time.monotonic() + GRACE_S
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise CallFailed(f"{what} did not happen within {GRACE_S:.0f} s")
        time.sleep(0.2)


def moment(text: str) -> datetime:
    """The moment that a wire time names."""
    return datetime.fromisoformat(text)


def finish(scene: Scene, alert: dict[str, Any]) -> None:
    """Acknowledge, resolve and close the alert as the clinician."""
    path = f"/alerts/{alert['id']}"
    scene.clinician.post(f"{path}/ack", {"note": "Vista en la demostración"})
    scene.clinician.post(f"{path}/resolve", {"note": "Sin síntomas; se avisa a la paciente"})
    scene.clinician.post(f"{path}/close", {})


def show_timeline(scene: Scene, alert: dict[str, Any], played: Replay) -> float:
    """Print the alert's life; returns the seconds from the sample's writing to the delivery."""
    observed_at = moment(alert["observed_at"])
    _, written_at, request_id = played.that_covered(observed_at)
    print(f"\nAlert {alert['type']} {alert['level']}, observed at {observed_at:%H:%M:%S} of the recording's clock")
    print("\n  after the writing   step                     who")
    print(f"  {'0.00 s':>14}      samples written          the device (request {request_id})")
    delivered = None
    for item in scene.clinician.get(f"/alerts/{alert['id']}/timeline"):
        if item["step"] == "observed":
            continue  # on the recording's clock, not on this one
        delay = (moment(item["at"]) - written_at).total_seconds()
        details = " ".join(f"{key}={value}" for key, value in item["details"].items() if "id" not in key)
        print(f"  {delay:>12.2f} s      {item['step']:<24} {item['actor'][:46]:<46} {details}")
        if delivered is None and "SENT" in details.upper() + item["step"].upper():
            delivered = delay
    return delivered if delivered is not None else float("nan")


def show_audit(admin: Client, scene: Scene, alert: dict[str, Any], played: Replay) -> list[str]:
    """Print the audit rows that the alarm left, in every service; returns their actions."""
    _, _, request_id = played.that_covered(moment(alert["observed_at"]))
    logs = f"/audit/logs?org_id={scene.organization_id}&limit=200"
    wanted = ("alert.acknowledged", "alert.resolved", "alert.closed")

    def complete() -> list[dict[str, Any]]:
        found = admin.get(f"{logs}&entity_id={alert['id']}")
        return found if {row["action"] for row in found} >= set(wanted) else []

    own = wait_for("the audit trail", complete)
    traced = {row["request_id"] for row in own}
    rows = {row["id"]: row for row in own}
    for trace in sorted(traced | {request_id}):
        rows |= {row["id"]: row for row in admin.get(f"{logs}&request_id={trace}")}
    print("\nAudit trail")
    ordered = sorted(rows.values(), key=lambda row: (row["ts"], row["sequence"]))
    for row in ordered:
        print(f"  {row['ts'][11:23]}  #{row['sequence']:<6} {row['action']:<28} {row['actor']}")
    verdict = admin.get("/audit/verify")
    print(f"  chain of {verdict['last_sequence']} rows: {verdict['state']}")
    return [row["action"] for row in ordered]


def main() -> int:
    """Run the demo; exit code 0 when an alarm was delivered, closed and audited."""
    parser = argparse.ArgumentParser(prog="python -m ops.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("recording", nargs="?", type=Path, default=DEFAULT_RECORDING, help="a WFDB record or CSV file")
    parser.add_argument("--speed", type=float, default=60.0, help="times real time (default 60)")
    parser.add_argument("--rate", type=float, help="samples per second of a CSV file without a time column")
    parser.add_argument("--channel", help="which channel of the recording (default: the first)")
    parser.add_argument("--host", help="where the gateway is (default: this machine)")
    parser.add_argument("--port", type=int)
    parser.add_argument("--user", help="a superadmin (default: sign with this machine's key)")
    parser.add_argument("--password")
    chosen = parser.parse_args()
    base_url = gateway_url(chosen.host, chosen.port)
    try:
        recording = read_recording(chosen.recording, rate_hz=chosen.rate, channel=chosen.channel)
        admin = operator(base_url, chosen.user, chosen.password)
        print(f"HeartGuard demo through {base_url}\n\nSetting the scene")
        scene = set_up(admin, base_url, recording)
        seconds = len(recording.samples) / recording.sample_rate_hz
        print(
            f"\nPlaying {chosen.recording.name}: {seconds:.0f} s of {recording.signal}, {chosen.speed:g} times as fast"
        )
        played, alert = replay(scene, recording, chosen.speed)
        if alert is None:
            alert = wait_for("an alarm", lambda: find_alert(scene))
        path = f"/alerts/{alert['id']}"

        def notified() -> Any:
            now = scene.clinician.get(path)
            return now if now["status"] != "created" else None

        alert = wait_for("the delivery", notified)
        finish(scene, alert)
        delivered = show_timeline(scene, alert, played)
        show_audit(admin, scene, alert, played)
    except (CallFailed, UnreadableRecording) as error:
        print(f"\nThe demo stopped: {error}", file=sys.stderr)
        return 1
    print(f"\nDelivered to {scene.email} {delivered:.2f} s after the last sample was written.")
    print("  mail        python -m ops.native mail (in containers: make mail)")
    print(f"  the alert   {base_url}/alerts/{alert['id']}")
    print(f"  strip       {base_url}/timeseries/plot?stream_id={scene.stream_id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
