"""The roles that a fresh installation has. Afterwards they are data, edited through the API."""

from common.permissions import Permission as P

ROLE_CODE = r"^[a-z][a-z0-9_]{1,39}\Z"
"""How the code of a role looks."""

SUPERADMIN, PATIENT, DEVICE = "superadmin", "patient", "device"

DEVICE_PERMISSIONS = frozenset({P.TIMESERIES_WRITE})
"""The most that a device's own token holds."""

_CAREGIVER = {
    P.ALERT_ACK,
    P.ALERT_READ,
    P.DEVICE_READ,
    P.INFERENCE_READ,
    P.MEDIA_READ,
    P.NOTIFICATION_READ,
    P.NOTIFICATION_WRITE,
    P.ORGANIZATION_READ,
    P.PATIENT_READ,
    P.TIMESERIES_READ,
}
_CLINICIAN = _CAREGIVER | {
    P.ALERT_MANAGE,
    P.ALERT_WRITE,
    P.DEVICE_WRITE,
    P.INFERENCE_WRITE,
    P.MEDIA_WRITE,
    P.PATIENT_WRITE,
    P.TIMESERIES_WRITE,
    P.USER_READ,
}
_VIEWER = {permission for permission in P if permission.endswith(":read")} - {P.OPS_READ}

ROLES: dict[str, tuple[str, set[P]]] = {
    SUPERADMIN: ("Superadministración", set(P)),
    # role:write would change the roles of every organisation, model:manage the models of all.
    "org_admin": (
        "Administración de la organización",
        _CLINICIAN | _VIEWER | {P.AUDIT_EXPORT, P.ORGANIZATION_WRITE, P.PATIENT_ERASE, P.USER_WRITE},
    ),
    "clinician": ("Personal clínico", _CLINICIAN),
    "caregiver": ("Cuidador", _CAREGIVER),
    PATIENT: ("Paciente", _CAREGIVER - {P.ALERT_ACK}),
    DEVICE: ("Dispositivo", set(DEVICE_PERMISSIONS)),
    "org_viewer": ("Consulta de la organización", _VIEWER),
    "ops": ("Operación", {P.OPS_READ}),
}
"""Code -> name and permissions. Whoever grants a role must hold all of its permissions."""
