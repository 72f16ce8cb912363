"""For every POST that changes something: who sends it, where, and a body that succeeds once.

A route without an entry takes the samples of its service and the smallest valid body.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pyotp
from sqlalchemy import text

from auth_service.credentials import reset_token
from tests.inference_service.conftest import Bed
from tests.influx_service.support import Stream, at
from tests.support.samples import made
from tests.support.services import Person, ServiceUnderTest

Services = Callable[[str], ServiceUnderTest]
PASSWORD = "tres gatos en el tejado"


@dataclass
class Scene:
    """One request that has not been sent yet."""

    who: Person | str | None
    body: Any = None
    ids: dict[str, str] = field(default_factory=dict)


def _email() -> str:
    return f"{uuid4().hex}@clinic.test"


@dataclass
class Account:
    """A clinician's account with a session."""

    auth: ServiceUnderTest
    admin: Person = field(default_factory=Person)
    email: str = field(default_factory=_email)

    def __post_init__(self) -> None:
        body = {"name": "Luz Mora", "email": self.email, "password": PASSWORD, "roles": ["clinician"]}
        self.id = made(self.auth, self.admin, "/auth/users", body)["id"]
        self.login = {"email": self.email, "password": PASSWORD}
        tokens = self.auth.call("POST", "/auth/login", json=self.login).json["data"]
        self.access, self.refresh = tokens["access_token"], tokens["refresh_token"]

    def enrolled(self) -> str:
        """The secret of a second factor that waits for its first code."""
        answer = self.auth.call("POST", "/auth/totp/enrol", self.access, json={"password": PASSWORD})
        return str(answer.json["data"]["secret"])


def _switch(services: Services) -> Scene:
    account, elsewhere = Account(services("auth")), str(uuid4())
    token = account.auth.service_token("organization", UUID(elsewhere))
    path = f"/internal/users/{account.id}/organization"
    assert account.auth.call("PUT", path, token, json={"role": "caregiver"}).status_code == 200
    return Scene(account.access, {"organization_id": elsewhere})


def _reset(services: Services) -> Scene:
    account = Account(services("auth"))
    account.auth.call("POST", "/auth/password/forgot", json={"email": account.email})
    letter = account.auth.outbox("account.mail", account.admin.org_id)[-1]["data"]["account_mail_id"]
    token = reset_token(account.auth.service.resources["vault"], UUID(letter))
    return Scene(None, {"token": token, "password": "cuatro perros en la playa"})


def _confirm(services: Services) -> Scene:
    account = Account(services("auth"))
    return Scene(account.access, {"code": pyotp.TOTP(account.enrolled()).now()})


def _disable(services: Services) -> Scene:
    account = Account(services("auth"))
    code = {"code": pyotp.TOTP(account.enrolled()).now()}
    codes = account.auth.call("POST", "/auth/totp/confirm", account.access, json=code).json["data"]["recovery_codes"]
    return Scene(account.access, {"password": PASSWORD, "code": codes[0]})


def _pair(services: Services) -> Scene:
    of_devices = services("auth").service_token("device", uuid4())
    issued = services("auth").call("POST", "/internal/device-pairings", of_devices, json={"device_id": str(uuid4())})
    return Scene(None, {"code": issued.json["data"]["code"]})


def _of_account(body: Callable[[Account], Any] = lambda _: None, *, known: bool = True) -> Callable[[Services], Scene]:
    def make(services: Services) -> Scene:
        account = Account(services("auth"))
        return Scene(account.access if known else None, body(account))

    return make


def _accept(services: Services) -> Scene:
    chief = Person(org_id=None, roles=("superadmin",))
    hospital = {"code": f"h-{uuid4().hex[:12]}", "name": "Hospital"}
    org_id = made(services("organization"), chief, "/organizations", hospital)["id"]
    invitation = {"email": _email(), "role": "clinician"}
    path = f"/organizations/{org_id}/invitations"
    token = made(services("organization"), Person(org_id=UUID(org_id)), path, invitation)["token"]
    account = Account(services("auth"))
    return Scene(Person(org_id=None, user_id=UUID(account.id), permissions=frozenset()), None, {"token": token})


def _membership(services: Services) -> Scene:
    chief = Person(roles=("org_admin",))
    return Scene(chief, {"user_id": Account(services("auth"), chief).id, "role": "caregiver"})


def _as_service(name: str, body: Callable[[], Any]) -> Callable[[Services], Scene]:
    return lambda services: Scene(services("auth").service_token(name, uuid4()), body())


def _assign(services: Services) -> Scene:
    person = Person()
    sensor = made(services("device"), person, "/devices", {"serial": f"S-{uuid4()}", "type": "ECG_1LEAD"})
    ana = made(services("patient"), person, "/patients", {"name": "Ana", "birthdate": "1950-01-02", "sex": "F"})
    return Scene(person, {"patient_id": ana["id"]}, {"device_id": sensor["id"]})


def _write(services: Services) -> Scene:
    person = Person()
    stream = Stream(str(person.org_id))
    services("influx").deliver(stream.bound(), person.org_id)
    return Scene(person, {"stream_id": stream.id, "started_at": at(0), "values": [1.0, 2.0]})


def _judge(services: Services) -> Scene:
    bed = Bed(services("inference"), services("influx"), Person())
    stream_id = bed.bind("SpO2", 1, "%")
    bed.write(stream_id, 0, [97.0] * 60 + [82.0] * 40)
    return Scene(bed.person, {"stream_id": str(stream_id), "at": bed.at(90).isoformat()})


def _alert(*steps: str, body: Any = None) -> Callable[[Services], Scene]:
    """An alert that has gone through `steps`."""

    def make(services: Services) -> Scene:
        person = Person()
        alert = made(services("alert"), person, "/alerts", {"patient_id": str(uuid4()), "type": "FEVER"})
        for step in steps:
            assert services("alert").call("POST", f"/alerts/{alert['id']}/{step}", person, json={}).status_code == 200
        return Scene(person, body or {}, {"alert_id": alert["id"]})

    return make


ANNOUNCED = {"filename": "a.png", "content_type": "image/png", "size_bytes": 3, "owner_kind": "patient", "tags": []}


def _complete(services: Services) -> Scene:
    person = Person()
    upload = made(services("media"), person, "/media/uploads", ANNOUNCED | {"owner_id": str(uuid4())})
    request = urllib.request.Request(upload["url"], b"abc", upload["headers"], method=upload["method"])
    with urllib.request.urlopen(request, timeout=5):
        return Scene(person, None, {"media_id": upload["id"]})


def fail_delivery(services: Services, delivery_id: str, person: Person) -> None:
    """A delivery that failed, as its channel would say."""
    with services("notification").database.transaction(person.org_id, technical=True) as session:
        statement = text("UPDATE alert_delivery SET status = 'FAILED' WHERE id = :id")
        session.execute(statement, {"id": delivery_id})


SCENES: dict[str, Callable[[Services], Scene]] = {
    "/auth/register": lambda _: Scene(None, {"name": "Luz", "email": _email(), "password": PASSWORD}),
    "/auth/login": _of_account(lambda account: account.login, known=False),
    "/auth/refresh": _of_account(lambda account: {"refresh_token": account.refresh}, known=False),
    "/auth/devices/pair": _pair,
    "/auth/switch-organization": _switch,
    "/auth/logout": _of_account(),
    "/auth/logout-all": _of_account(),
    "/auth/password/change": _of_account(
        lambda _: {"current_password": PASSWORD, "password": "cuatro perros en la playa"}
    ),
    "/auth/password/forgot": _of_account(lambda account: {"email": account.email}, known=False),
    "/auth/password/reset": _reset,
    "/auth/totp/enrol": _of_account(lambda _: {"password": PASSWORD}),
    "/auth/totp/confirm": _confirm,
    "/auth/totp/disable": _disable,
    "/auth/users": lambda _: Scene(
        Person(), {"name": "Luz", "email": _email(), "password": PASSWORD, "roles": ["clinician"]}
    ),
    "/auth/roles": lambda _: Scene(Person(), {"code": f"r_{uuid4().hex[:8]}", "name": "Papel", "permissions": []}),
    "/internal/device-pairings": _as_service("device", lambda: {"device_id": str(uuid4())}),
    "/internal/memberships": _as_service("organization", lambda: {"user_id": str(uuid4()), "role": "clinician"}),
    "/organizations": lambda _: Scene(
        Person(org_id=None, roles=("superadmin",)), {"code": f"h-{uuid4().hex[:12]}", "name": "Hospital"}
    ),
    "/invitations/{token}/accept": _accept,
    "/memberships": _membership,
    "/devices/{device_id}/assignments": _assign,
    "/timeseries/write": _write,
    "/write": _write,
    "/inferences": _judge,
    "/alerts/{alert_id}/ack": _alert(),
    "/alerts/{alert_id}/assign": _alert(body={"user_id": str(uuid4())}),
    "/alerts/{alert_id}/resolve": _alert("ack"),
    "/alerts/{alert_id}/close": _alert("ack", "resolve"),
    "/alerts/{alert_id}/escalate": _alert(body={"level": "high"}),
    "/alerts/{alert_id}/shelve": _alert(body={"minutes": 5, "note": "prueba"}),
    "/media/uploads": lambda _: Scene(Person(), ANNOUNCED | {"owner_id": str(uuid4())}),
    "/media/{media_id}/complete": _complete,
}
BODIES: dict[str, Callable[[dict[str, str]], Any]] = {
    "/organizations/{organization_id}/contacts": lambda _: {"name": "Guardia", "phone": "600 000 001"},
    "/organizations/{organization_id}/roles": lambda _: {"code": "noche", "name": "Noche", "base_role": "clinician"},
    "/organizations/{organization_id}/invitations": lambda _: {"email": _email(), "role": "clinician"},
    "/patients": lambda _: {"name": "Ana", "birthdate": "1950-01-02", "sex": "F"},
    "/patients/{patient_id}/care-teams": lambda ids: {"care_team_id": ids["care_team_id"]},
    "/device-types": lambda _: {"code": "BANDA", "name": "Banda", "signal_types": ["ECG"]},
    "/devices": lambda _: {"serial": f"S-{uuid4()}", "type": "ECG_1LEAD"},
    "/devices/{device_id}/assignments/{assignment_id}/end": lambda _: {},
    "/devices/{device_id}/health": lambda _: {"status": "up"},
    "/devices/{device_id}/streams": lambda _: {"signal_type": "ECG", "sample_rate_hz": 100, "channel": "V5"},
    "/streams/{stream_id}/bindings": lambda _: {"bucket": "otro"},
    "/streams/{stream_id}/end": lambda _: {},
    "/timeseries/buckets": lambda _: {"name": "otro"},
    "/event-types": lambda _: {
        "code": "SINCOPE",
        "name": "Síncope",
        **dict.fromkeys(("default_level", "min_level", "max_level"), "high"),
    },
    "/models": lambda _: {"name": "otro"},
    "/models/{model_id}/versions": lambda _: {
        "version": "0.2.0",
        "runtime": "onnx",
        "entry_point": "media:otro",
        "sha256": "0" * 64,
        "window_s": 1,
        "step_s": 1,
        "inputs": [{"signal": "ECG", "unit": "mV", "min_rate_hz": 1, "max_rate_hz": 9, "max_age_s": 0}],
        "events": ["FALL"],
    },
    "/ground-truth": lambda _: {
        "patient_id": str(uuid4()),
        "event_type": "FALL",
        "onset_at": (datetime.now(UTC) - timedelta(hours=1)).isoformat(),
    },
    "/alerts": lambda _: {"patient_id": str(uuid4()), "type": "FEVER"},
    "/alert-policies": lambda _: {
        "alert_type": "DESAT",
        "channels": {"medium": ["LOG"], "high": ["LOG"], "critical": ["LOG"]},
        "escalation_minutes": {},
        "hold_off_minutes": 1,
        "max_escalations": 1,
        "max_shelve_minutes": 60,
    },
    "/push-devices": lambda _: {"platform": "ios", "token": uuid4().hex},
    "/media/{media_id}/tags": lambda _: {"tag": "otro"},
}


def somebody_else(who: Person) -> list[Person]:
    """A colleague, and the same person in another organisation."""
    return [replace(who, user_id=uuid4()), replace(who, org_id=uuid4())]
