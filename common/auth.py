"""Who is calling, in which organisation, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

_BOUND_ROLES = frozenset({"caregiver", "patient"})
_OVERSEEING_ROLES = frozenset({"superadmin", "org_admin", "org_viewer"})
_STAFF_ROLES = _OVERSEEING_ROLES | {"clinician"}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. Times are unix seconds; `issued_at` has fractions."""

    subject: str
    roles: frozenset[str]
    permissions: frozenset[str]
    org_id: UUID | None
    session_id: str | None
    token_id: str
    issued_at: float
    expires_at: int
    audience: str
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who acts in a request or a message, in which organisation, and on whose behalf it is traced."""

    subject: str
    org_id: UUID | None = None
    roles: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    session_id: str | None = None
    token_id: str | None = None
    request_id: str = ""
    traceparent: str = ""
    ip: str | None = None
    user_agent: str | None = None
    is_service: bool = False
    scope: str | None = None
    patients: frozenset[UUID] | None = frozenset()
    """Whom the caller may see where an endpoint asked (common.care); None: every patient of the organisation."""

    @property
    def user_id(self) -> UUID | None:
        """The user's id, None for a service, a device or an anonymous caller."""
        try:
            return None if self.is_service else UUID(self.subject)
        except ValueError:
            return None

    @property
    def device_id(self) -> UUID | None:
        """The device that calls with credentials of its own, None for anybody else."""
        kind, _, device_id = self.subject.partition(":")
        return UUID(device_id) if kind == _DEVICE and not self.is_service else None

    @property
    def writes_as_device(self) -> bool:
        """True for a device, and for anybody else with its role: the streams of a device are all that it opens."""
        return self.device_id is not None or _DEVICE in self.roles

    @property
    def may_only_enrol(self) -> bool:
        """True for somebody who owes their organisation a second factor, and may do nothing else before."""
        return self.scope == ENROLMENT

    @property
    def sees_linked_patients_only(self) -> bool:
        """True for a caregiver or patient who is nothing more: a live link decides over each patient."""
        return bool(self.roles & _BOUND_ROLES) and not self.roles & _STAFF_ROLES

    @property
    def oversees_organization(self) -> bool:
        """True for a service, and for whoever sees every patient of the organisation by their role."""
        return self.is_service or bool(self.roles & _OVERSEEING_ROLES)

    @property
    def sees_every_patient(self) -> bool:
        """True for whoever oversees the organisation, or is shown all of its patients by its rules."""
        return self.patients is None or self.oversees_organization

    def sees(self, patient_id: UUID) -> bool:
        """Whether the caller may see a patient."""
        return self.sees_every_patient or patient_id in (self.patients or ())

    @property
    def is_superadmin(self) -> bool:
        """True for the role that may name any organisation."""
        return "superadmin" in self.roles


ANONYMOUS = "anonymous"
ENROLMENT = "enrolment"
"""The scope of a token that serves to enrol a second factor only."""
_DEVICE = "device"


def device_subject(device_id: UUID | None) -> str:
    """The `sub` of a device's token."""
    return f"{_DEVICE}:{device_id}"


def service_caller(service: str, org_id: UUID | None = None, request_id: str = "", traceparent: str = "") -> Caller:
    """The caller of a consumer or a task: the service itself."""
    return Caller(
        subject=f"service:{service}", org_id=org_id, request_id=request_id, traceparent=traceparent, is_service=True
    )
