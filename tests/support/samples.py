"""One of each thing that a path can name, made through the service itself; and a valid body for any schema.

A route whose parameter has no sample fails tests/architecture/test_foreign_organization.py: add it here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from marshmallow import Schema, validate
from marshmallow import fields as ma
from sqlalchemy import text

from common import fields
from common.events import AuditLog
from common.factory import resources_of
from tests.support.services import Person, ServiceUnderTest, event_like

Samples = dict[str, str]


def made(service: ServiceUnderTest, person: Person, path: str, body: dict[str, Any]) -> Any:
    """What a creation answers; anything but 201 is an error of the sample."""
    answer = service.call("POST", path, person, json=body)
    assert answer.status_code == 201, f"{path}: {answer.text}"
    return answer.json["data"]


def patient(service: ServiceUnderTest, person: Person) -> Samples:
    """A patient in a care team with one member, with a caregiver, and opened to somebody."""
    ana = made(service, person, "/patients", {"name": "Ana", "birthdate": "1950-01-02", "sex": "F"})
    team = made(service, person, "/care-teams", {"name": "Cardio"})
    member = str(uuid4())
    made(service, person, f"/care-teams/{team['id']}/members", {"user_id": member, "role": "nurse"})
    link = made(service, person, f"/patients/{ana['id']}/caregivers", {"user_id": member, "relation": "child"})
    access = made(service, person, f"/patients/{ana['id']}/access", {"reason": "Guardia sin equipo propio"})
    return {
        "patient_id": ana["id"],
        "care_team_id": team["id"],
        "user_id": member,
        "caregiver_id": link["id"],
        "access_id": access["id"],
    }


def device(service: ServiceUnderTest, person: Person) -> Samples:
    """A device of a type of its own on a patient, with a bound stream."""
    kind = made(service, person, "/device-types", {"code": "PARCHE", "name": "Parche", "signal_types": ["ECG"]})
    sensor = made(service, person, "/devices", {"serial": f"M-{uuid4()}", "type": "PARCHE"})
    assignment_id = uuid4()
    with service.database.transaction(person.org_id, technical=True) as session:  # the API would ask for the patient
        session.execute(
            text(
                "INSERT INTO device_assignments (id, org_id, device_id, patient_id, starts_at, version)"
                " VALUES (:id, :org_id, :device_id, :patient_id, now() - interval '1 hour', 1)"
            ),
            {"id": assignment_id, "org_id": person.org_id, "device_id": sensor["id"], "patient_id": uuid4()},
        )
    stream = made(service, person, f"/devices/{sensor['id']}/streams", {"signal_type": "ECG", "sample_rate_hz": 250})
    made(service, person, f"/streams/{stream['id']}/bindings", {})
    return {
        "device_type_id": kind["id"],
        "device_id": sensor["id"],
        "assignment_id": str(assignment_id),
        "stream_id": stream["id"],
    }


def influx(service: ServiceUnderTest, person: Person) -> Samples:
    """A bucket."""
    return {"bucket_id": made(service, person, "/timeseries/buckets", {"name": "investigacion"})["id"]}


def organization(service: ServiceUnderTest, person: Person) -> Samples:
    """The person's organisation itself, with its rules, looks, a contact, a role and an invitation."""
    with service.database.transaction(person.org_id, technical=True) as session:  # the API would choose the id
        for table, columns, values in (
            ("organizations", "code, name", f"'{uuid4()}', 'Hospital'"),
            (
                "org_settings",
                "org_id, locale, timezone, retention_days, second_factor_required, patient_scope",
                ":id, 'es', 'UTC', 365, false, 'care_team'",
            ),
            ("org_brands", "org_id, primary_color, secondary_color", ":id, '#000000', '#000000'"),
        ):
            insert = text(f"INSERT INTO {table} (id, version, {columns}) VALUES (:id, 1, {values})")
            session.execute(insert, {"id": person.org_id})
    path = f"/organizations/{person.org_id}"
    contact = made(service, person, f"{path}/contacts", {"name": "Guardia", "phone": "600 000 000"})
    role = {"code": "supervision", "name": "Supervisión", "base_role": "clinician"}
    invitation = {"email": "ana@hospital.es", "role": "clinician"}
    return {
        "organization_id": str(person.org_id),
        "contact_id": contact["id"],
        "role_id": made(service, person, f"{path}/roles", role)["id"],
        "invitation_id": made(service, person, f"{path}/invitations", invitation)["id"],
        "token": "unknown",  # a real one opens the door to whoever holds it, and is meant to
    }


def inference(service: ServiceUnderTest, person: Person) -> Samples:
    """A model with a version, an event type, a label and a profile of the organisation, and an inference."""
    from inference_service.catalogue import running_versions

    model = made(service, person, "/models", {"name": "caidas"})
    card = {"runtime": "onnx", "entry_point": "media:caidas", "sha256": "0" * 64, "window_s": 1, "step_s": 1}
    card["inputs"] = [{"signal": "ECG", "unit": "mV", "min_rate_hz": 1, "max_rate_hz": 9, "max_age_s": 0}]
    version = made(service, person, f"/models/{model['id']}/versions", card | {"version": "0.1.0", "events": ["FALL"]})
    levels = dict.fromkeys(("default_level", "min_level", "max_level"), "high")
    event_type = made(service, person, "/event-types", {"code": "FALL", "name": "Caída", **levels})
    patient_id = str(uuid4())
    label = {"patient_id": patient_id, "event_type": "FALL", "onset_at": "2026-01-01T00:00:00Z"}
    assert service.call("PUT", f"/inference-profiles/{patient_id}", person, json={}).status_code == 200
    version_id = running_versions(service.database)["news2"].id
    inference_id = uuid4()
    with service.database.transaction(person.org_id, technical=True) as session:  # only the worker makes one
        session.execute(
            text(
                "INSERT INTO inferences (id, org_id, patient_id, stream_id, device_id, model_version_id, event_type,"
                " window_start, window_end, status, reason, version) VALUES (:id, :org_id, :patient_id, :id, :id,"
                " :version_id, 'GENERAL_RISK', now() - interval '1 minute', now(), 'abstain', '', 1)"
            ),
            {"id": inference_id, "org_id": person.org_id, "patient_id": patient_id, "version_id": version_id},
        )
    return {
        "model_id": model["id"],
        "version": version["version"],
        "event_type_id": event_type["id"],
        "inference_id": str(inference_id),
        "label_id": made(service, person, "/ground-truth", label)["id"],
        "patient_id": patient_id,
    }


def user(service: ServiceUnderTest, person: Person) -> Samples:
    """A member of the organisation with wishes and a phone."""
    assert service.call("PATCH", "/users/me", person, json={"display_name": "Ana"}).status_code == 200
    assert service.call("PATCH", "/preferences", person, json={"language": "en"}).status_code == 200
    mine = {"user_id": str(person.user_id)}
    (membership,) = service.call("GET", "/memberships", person, query_string=mine).json["data"]
    phone = {"platform": "ios", "name": "Mi teléfono", "fingerprint": "installation-1"}
    device = made(service, person, "/users/me/devices", phone)
    return {"user_id": str(person.user_id), "membership_id": membership["id"], "device_id": device["id"]}


def media(service: ServiceUnderTest, person: Person) -> Samples:
    """A file with a tag."""
    media_id = uuid4()
    with service.database.transaction(person.org_id, technical=True) as session:  # the API would ask for a store
        for table, columns, values in (
            (
                "media_assets",
                "owner_kind, owner_id, filename, content_type, size_bytes, status",
                "'patient', :id, 'torax.png', 'image/png', 1, 'ready'",
            ),
            ("media_tags", "asset_id, tag", ":id, 'torax'"),
        ):
            insert = text(f"INSERT INTO {table} (id, org_id, version, {columns}) VALUES (:id, :org_id, 1, {values})")
            session.execute(insert, {"id": media_id, "org_id": person.org_id})
    return {"media_id": str(media_id), "tag": "torax"}


def audit(service: ServiceUnderTest, person: Person) -> Samples:
    """A row of the trail."""
    event = AuditLog(
        actor="service:test", action="test.done", entity="test", org_id=person.org_id, ts=datetime.now(UTC)
    )
    service.deliver(event, person.org_id)
    (row,) = service.call("GET", "/audit/logs", person).json["data"]
    return {"log_id": row["id"]}


def alert(service: ServiceUnderTest, person: Person) -> Samples:
    """An alert by hand and a policy."""
    fever = made(service, person, "/alerts", {"patient_id": str(uuid4()), "type": "FEVER"})
    channels = {"medium": ["LOG"], "high": ["LOG"], "critical": ["LOG"]}
    policy = {"channels": channels, "escalation_minutes": {}, "hold_off_minutes": 1}
    bounds = {"max_escalations": 1, "max_shelve_minutes": 60}
    return {"alert_id": fever["id"], "policy_id": made(service, person, "/alert-policies", policy | bounds)["id"]}


def notification(service: ServiceUnderTest, person: Person) -> Samples:
    """A push device and a delivery to the operators' log."""
    phone = made(service, person, "/push-devices", {"platform": "ios", "token": uuid4().hex})
    subject = {"notification_id": uuid4(), "alert_id": uuid4(), "patient_id": uuid4(), "observed_at": datetime.now(UTC)}
    request = event_like(
        "alert.notify", "notification.topic", **subject, level="medium", alert_type="FEVER", channel="LOG"
    )
    service.deliver(request, person.org_id)
    tasks = importlib.import_module("notification_service.tasks")
    known = resources_of(service.package, service.service.settings, service.database)
    tasks.find_recipients(service.database, known["client"], service.service.settings, known["wishes_pause"])
    delivery = service.call("GET", "/notifications", person).json["data"][0]
    return {"device_id": phone["id"], "delivery_id": delivery["id"]}


def auth(service: ServiceUnderTest, person: Person) -> Samples:
    """An account with a session, a letter on its way, a device to be paired; roles and catalogues are nobody's own."""
    me = {"email": f"{uuid4().hex}@clinic.test", "password": "tres gatos en el tejado"}
    user = made(service, person, "/auth/users", me | {"name": "Luz", "roles": ["clinician"]})
    token = service.call("POST", "/auth/login", json=me).json["data"]["access_token"]
    session = service.call("GET", "/auth/sessions", token).json["data"][0]
    service.call("POST", "/auth/password/forgot", json={"email": me["email"]})
    letter = service.outbox("account.mail", person.org_id)[-1]["data"]
    device_id = str(uuid4())
    of_devices = service.service_token("device", person.org_id)
    issued = service.call("POST", "/internal/device-pairings", of_devices, json={"device_id": device_id})
    assert issued.status_code == 200, issued.text
    shared = {"code": "no_such_role", "permission": "no:such", "catalog": "no-such", "token_id": str(uuid4())}
    ids = {"user_id": user["id"], "session_id": session["id"], "account_mail_id": letter["account_mail_id"]}
    return ids | shared | {"device_id": device_id}


MAKERS: dict[str, Callable[[ServiceUnderTest, Person], Samples]] = {
    "auth": auth,
    "patient": patient,
    "device": device,
    "influx": influx,
    "inference": inference,
    "organization": organization,
    "user": user,
    "media": media,
    "audit": audit,
    "alert": alert,
    "notification": notification,
}


def body_of(schema: Schema) -> dict[str, Any]:
    """The smallest valid-looking body: every field with a plain value."""
    return {field.data_key or name: _value(field) for name, field in schema.load_fields.items()}


def _value(field: ma.Field[Any]) -> Any:
    choices = next((check.choices for check in field.validators if isinstance(check, validate.OneOf)), None)
    if choices:
        return next(iter(choices))
    if isinstance(field, ma.Nested):
        return body_of(field.schema)
    if isinstance(field, ma.List):
        return [_value(field.inner) for _ in range(max(1, getattr(field, "min_items", 1)))]
    if isinstance(field, ma.Dict):
        return {}
    if isinstance(field, ma.UUID):
        return str(uuid4())
    if isinstance(field, ma.Boolean):
        return True
    if isinstance(field, ma.Number):
        return max(1, getattr(field, "minimum", 1))
    plain = {ma.Date: "2000-01-01", ma.AwareDateTime: "2026-01-01T00:00:00Z", ma.Email: "a@b.es"}
    for kind, value in plain.items():
        if isinstance(field, kind):
            return value
    if isinstance(field, ma.Url):
        return "https://ejemplo.es/"
    if isinstance(field, fields.Text):
        return "x" * max(field.min_length, 1)
    raise TypeError(f"no plain value for {type(field).__name__}")
