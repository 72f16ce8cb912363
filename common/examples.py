"""Example values of wire schemas: realistic, always the same, and valid. Only the published contracts show them."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

from marshmallow import Schema, ValidationError, validate
from marshmallow import fields as ma

_VALUES: dict[str, Any] = {
    "access_token": "eyJhbGciOiJIUzI1NiIsImtpZCI6IjIwMjYtMSJ9.eyJzdWIiOiIwMTk4In0.c2lnbmF0dXJl",
    "advice_en": "Create a new alert.",
    "advice_es": "Cree una alerta nueva.",
    "begins": "2026-03-01T08:00:00Z",
    "catalog": "platforms",
    "color": "#f5e663",
    "contrast": "1.3",
    "current": "resolved",
    "ends": "2026-03-01T09:30:00Z",
    "max_bytes": 5242880,
    "maximum": 120,
    "minimum": 1,
    "permission": "patient:read",
    "stream_id": "0198b7a2-5c1e-7c44-9a51-7714aee64e0a",
    "action": "patient.created",
    "actor": "0198b7a2-5c1e-7c44-9a51-7d0a1c2b3e4f",
    "alert_type": "ARRHYTHMIA",
    "approver": "Dra. Lucía Romero",
    "base_role": "clinician",
    "battery_percent": 82,
    "birthdate": "1950-03-12",
    "brand": "Polar",
    "bucket": "ecg",
    "channel": "II",
    "channels": "PUSH",
    "client_id": "heartguard-android",
    "code": "cardiology",
    "condition": "news2 >= 7",
    "confidence": "high",
    "content_type": "image/png",
    "cosen": -1.2,
    "critical": 3,
    "current_password": "tres gatos en el tejado",
    "dataset": "MIT-BIH 208",
    "delay_s": 4.2,
    "description": "Detecta fibrilación auricular en una derivación.",
    "device_fingerprint": "b7f1c2d4-pixel-9",
    "device_token": "m3Vx8Qp2LrTz6YkW",
    "display_name": "Ana García",
    "email": "ana.garcia@example.org",
    "ended_at": "2026-03-01T09:30:00Z",
    "ends_at": "2026-03-31T08:00:00Z",
    "entity": "patients",
    "entity_id": "0198b7a2-5c1e-7c44-9a51-a064937a54e8",
    "entry_point": "media:0198b7a2-5c1e-7c44-9a51-3d2f4b6a7c88",
    "event_type": "ARRHYTHMIA",
    "events": "ARRHYTHMIA",
    "every_s": 60,
    "expires_at": "2026-03-08T08:30:00Z",
    "expires_in": 900,
    "false_alarms_per_patient_day": 0.4,
    "filename": "electrocardiograma.png",
    "fingerprint": "b7f1c2d4-pixel-9",
    "firmware": "2.4.1",
    "function": "Guardia de cardiología",
    "guard_s": 5,
    "hash": sha256(b"audit row").hexdigest(),
    "heart_rate": 72,
    "high": 10,
    "hold_off_minutes": 5,
    "ip": "203.0.113.7",
    "issued_at": 1772353800,
    "job_title": "Enfermera de cardiología",
    "kind": "patient",
    "label_en": "High",
    "label_es": "Alto",
    "labelled_by": "0198b7a2-5c1e-7c44-9a51-7d0a1c2b3e4f",
    "latitude": 40.4168,
    "level": "high",
    "limit": 50,
    "longitude": -3.7038,
    "max_age_s": 30,
    "max_escalations": 3,
    "max_rate_hz": 1000,
    "max_shelve_minutes": 120,
    "measurement": "ecg",
    "medium": 30,
    "method": "GET",
    "metric": "heart_rate",
    "min_quality": 0.5,
    "min_rate_hz": 100,
    "minutes": 30,
    "missing": "RESP",
    "model": "H10",
    "n": 250,
    "name": "Ana García",
    "note": "La paciente se encuentra bien; electrodo recolocado.",
    "pacemaker": False,
    "password": "tres gatos en el tejado",
    "permissions": "patient:read",
    "phone": "+34 600 000 000",
    "position": 3,
    "ppv": 0.94,
    "pregnant": False,
    "primary_color": "#0b5fa5",
    "q": "Ana",
    "quality": 0.93,
    "quiet_from": "22:00",
    "quiet_until": "07:00",
    "reason": "Revisión de urgencia",
    "recipient": "ana.garcia@example.org",
    "recovery_codes": "k7m2-p9xq",
    "refresh_token": "q8V3hT0mYwR5kZbN1sLx7cJd4uGfE2aP9oIiQtUyWzM",
    "request_id": "4f1c2a9e-7b30-4d5e-a8c1-90f2e3d4b5a6",
    "retention_days": 365,
    "revoked": False,
    "risk_level": "medium",
    "role": "clinician",
    "roles": "clinician",
    "sample_rate_hz": 250,
    "score": 0.87,
    "second_factor": False,
    "secondary_color": "#7a1f3d",
    "secret": "JBSWY3DPEHPK3PXP",
    "sensitivity": 0.97,
    "serial": "HG-2026-000123",
    "session_id": "0198b7a2-5c1e-7c44-9a51-5e55109c0001",
    "sex": "F",
    "sha256": sha256(b"model").hexdigest(),
    "signal": "ECG",
    "signal_dbm": -61,
    "signal_type": "ECG",
    "silent": False,
    "size_bytes": 48213,
    "source": "inference",
    "split": "test",
    "spo2_scale": 1,
    "start": "2026-03-01T08:00:00Z",
    "step": "ack",
    "step_s": 30,
    "stop": "2026-03-01T08:30:00Z",
    "subject": "0198b7a2-5c1e-7c44-9a51-7d0a1c2b3e4f",
    "tag": "electrocardiograma",
    "tags": "electrocardiograma",
    "threshold": 0.8,
    "time_to_alarm_p50_s": 8.5,
    "time_to_alarm_p95_s": 21.0,
    "timezone": "Europe/Madrid",
    "token": "Zk3xT9vQmB7wLr2N8sYc5hJd",
    "token_type": "Bearer",
    "type": "ARRHYTHMIA",
    "unit": "mV",
    "uri": "otpauth://totp/HeartGuard:ana.garcia@example.org?secret=JBSWY3DPEHPK3PXP&issuer=HeartGuard",
    "url": "https://storage.example.org/heartguard/electrocardiograma.png?X-Goog-Signature=4d2c",
    "user_agent": "HeartGuard/3.1 (Android 16)",
    "valid_days": 7,
    "value": 72.0,
    "values": 0.12,
    "version": "1.2.0",
    "window_end": "2026-03-01T08:31:00Z",
    "window_s": 60,
    # Where a schema means something else by the name.
    "AlertTypeOut.code": "ARRHYTHMIA",
    "AlertTypeOut.default_level": "high",
    "AlertTypeOut.label_en": "Arrhythmia",
    "AlertTypeOut.label_es": "Arritmia",
    "AlertTypeOut.max_level": "critical",
    "AlertTypeOut.min_level": "medium",
    "BucketIn.name": "ecg",
    "BucketOut.name": "ecg",
    "CareTeamIn.name": "Cardiología, planta 3",
    "CareTeamOut.name": "Cardiología, planta 3",
    "CatalogueEntryOut.code": "high",
    "CodeIn.code": "492817",
    "DeviceChange.type": "ECG_1LEAD",
    "DeviceIn.name": "Teléfono de Ana",
    "DeviceIn.type": "ECG_1LEAD",
    "DeviceOut.name": "Teléfono de Ana",
    "DeviceOut.type": "ECG_1LEAD",
    "DeviceTypeIn.code": "ECG_1LEAD",
    "DeviceTypeIn.name": "Electrocardiógrafo de una derivación",
    "DeviceTypeOut.code": "ECG_1LEAD",
    "DeviceTypeOut.name": "Electrocardiógrafo de una derivación",
    "EventTypeIn.code": "ARRHYTHMIA",
    "EventTypeIn.default_level": "high",
    "EventTypeIn.max_level": "critical",
    "EventTypeIn.name": "Arritmia",
    "EventTypeOut.code": "ARRHYTHMIA",
    "EventTypeOut.default_level": "high",
    "EventTypeOut.max_level": "critical",
    "EventTypeOut.name": "Arritmia",
    "LetterOut.kind": "invitation",
    "ModelIn.name": "fibrilacion",
    "ModelOut.name": "fibrilacion",
    "OrganizationChange.name": "Hospital Norte",
    "OrganizationIn.code": "hospital-norte",
    "OrganizationIn.name": "Hospital Norte",
    "OrganizationOut.code": "hospital-norte",
    "OrganizationOut.name": "Hospital Norte",
    "PasswordChangeIn.password": "un faro encendido en la niebla",
    "PasswordResetIn.password": "un faro encendido en la niebla",
    "PermissionOut.code": "patient:read",
    "PushDeviceIn.name": "Teléfono de Ana",
    "PushDeviceOut.name": "Teléfono de Ana",
    "RoleChange.name": "Cardiología",
    "RoleIn.name": "Cardiología",
    "RoleName.name": "Cardiología",
    "RoleOut.name": "Cardiología",
    "SecondFactorOff.code": "492817",
    "UploadOut.method": "PUT",
}
"""By field, or by schema and field."""

# What most callers leave out, and of two alternatives the second.
_LEFT_OUT = frozenset(
    {
        "LoginIn.client_id",
        "LoginIn.code",
        "LoginIn.device_fingerprint",
        "LoginIn.device_token",
        "LoginIn.platform",
        "PatientIn.user_id",
        "PatientChange.user_id",
        "ProfileIn.limits",
        "WriteIn.points",
    }
)

# Tried in this order where a pattern asks for something and nothing is written above.
_PLAIN_TEXTS = ("ejemplo", "EJEMPLO", "1.0.0", "08:00", "#0b5fa5", "+34 600 000 000", "0" * 64)
_MOMENT = "2026-03-01T08:30:00Z"


def example_of(schema: Schema, *, incoming: bool) -> dict[str, Any]:
    """An example of a body (`incoming`) or of an answer. Raises ValueError for a body that its schema refuses."""
    example = _object(schema, schema.load_fields if incoming else schema.dump_fields)
    if incoming and (problems := schema.validate(example)):
        raise ValueError(f"{type(schema).__name__}: {problems}: give these fields a value in common/examples.py")
    return example


def example_id(name: str) -> str:
    """The UUID that stands for `name` wherever it is named."""
    return f"0198b7a2-5c1e-7c44-9a51-{sha256(name.encode()).hexdigest()[:12]}"


def example_text(name: str) -> str:
    """What stands for `name` in a path or in an error's message."""
    return str(_VALUES.get(name, name))


def _object(schema: Schema, members: dict[str, ma.Field[Any]]) -> dict[str, Any]:
    kind = type(schema).__name__
    return {
        field.data_key or name: value_of(f"{kind}.{name}", field)
        for name, field in members.items()
        if f"{kind}.{name}" not in _LEFT_OUT
    }


def value_of(name: str, field: ma.Field[Any]) -> Any:
    """An example of one field, `name` being `Schema.field`."""
    short = name.rpartition(".")[2]
    if isinstance(field, ma.Nested):
        inner = _object(field.schema, field.schema.fields)
        return [inner] if field.many else inner
    if isinstance(field, ma.List):
        count = max([1, *(check.min or 0 for check in field.validators if isinstance(check, validate.Length))])
        return [value_of(name, field.inner)] * count
    if isinstance(field, ma.Dict):
        key = "lead" if short == "tags" else "ejemplo"
        return {key: "II" if isinstance(field.value_field, ma.String) else 1}
    choices = next((list(check.choices) for check in field.validators if isinstance(check, validate.OneOf)), None)
    for candidate in (_VALUES.get(name), _VALUES.get(short), *(choices or ())):
        if candidate is not None and _fits(field, candidate):
            return candidate
    if isinstance(field, ma.UUID):
        return example_id(short)
    if isinstance(field, ma.Boolean):
        return True
    if isinstance(field, ma.Number):
        least = getattr(field, "minimum", 0)
        return least if least > 1 else min(1, getattr(field, "maximum", 1))
    if isinstance(field, ma.DateTime):
        return _MOMENT
    if isinstance(field, ma.Date):
        return _MOMENT[:10]
    for text in (short.replace("_", " ").capitalize(), *_PLAIN_TEXTS, "x" * getattr(field, "min_length", 1)):
        if _fits(field, text):
            return text
    raise ValueError(f"{name}: give it a value in common/examples.py")


def _fits(field: ma.Field[Any], value: Any) -> bool:
    try:
        field.deserialize(value)
    except ValidationError:
        return False
    return isinstance(value, str) or not re.fullmatch("String|Text", type(field).__name__)
