"""Reads of the patient service, within the caller's organisation and care relations."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, or_, select
from sqlalchemy.orm import Session

from common.auth import Caller
from common.errors import NotFound
from common.pagination import Page, paginate
from patient_service.models import CaregiverPatient, CareTeam, CareTeamMember, Patient, PatientCareTeam


def visible_patients(caller: Caller) -> Select[Any]:
    """The patients of the caller's organisation whom the caller may see.

    A caregiver or patient sees those to whom a live link binds them; staff see the organisation's patients.
    """
    statement = select(Patient).where(Patient.org_id == caller.org_id)
    if caller.sees_linked_patients_only:
        linked = exists().where(
            CaregiverPatient.patient_id == Patient.id,
            CaregiverPatient.user_id == caller.user_id,
            CaregiverPatient.ended_at.is_(None),
        )
        statement = statement.where(or_(Patient.user_id == caller.user_id, linked))
    return statement


def get_patient(session: Session, caller: Caller, patient_id: UUID) -> Patient:
    """One patient; raises NotFound for one the caller may not see."""
    patient = session.scalar(visible_patients(caller).where(Patient.id == patient_id))
    if patient is None:
        raise NotFound
    return patient


def find_patients(
    session: Session,
    caller: Caller,
    limit: int,
    cursor: str | None,
    q: str | None = None,
    risk_level: str | None = None,
    care_team: UUID | None = None,
) -> Page:
    """The patients the caller may see, newest first."""
    statement = visible_patients(caller)
    if q is not None:
        statement = statement.where(Patient.name.icontains(q, autoescape=True))
    if risk_level is not None:
        statement = statement.where(Patient.risk_level == risk_level)
    if care_team is not None:
        entrusted = exists().where(PatientCareTeam.patient_id == Patient.id, PatientCareTeam.care_team_id == care_team)
        statement = statement.where(entrusted)
    return paginate(session, statement, Patient.id, limit, cursor)


def get_care_team(session: Session, caller: Caller, care_team_id: UUID) -> CareTeam:
    """One care team of the caller's organisation; raises NotFound."""
    statement = select(CareTeam).where(CareTeam.org_id == caller.org_id, CareTeam.id == care_team_id)
    team = session.scalar(statement)
    if team is None:
        raise NotFound
    return team


def find_care_teams(session: Session, caller: Caller, limit: int, cursor: str | None) -> Page:
    """The care teams of the caller's organisation, newest first."""
    statement = select(CareTeam).where(CareTeam.org_id == caller.org_id)
    return paginate(session, statement, CareTeam.id, limit, cursor)


def find_members(session: Session, caller: Caller, care_team_id: UUID, limit: int, cursor: str | None) -> Page:
    """The members of a care team; raises NotFound."""
    team = get_care_team(session, caller, care_team_id)
    statement = select(CareTeamMember).where(CareTeamMember.care_team_id == team.id)
    return paginate(session, statement, CareTeamMember.id, limit, cursor)


def find_caregivers(session: Session, caller: Caller, patient_id: UUID, limit: int, cursor: str | None) -> Page:
    """The caregivers of a patient; raises NotFound."""
    patient = get_patient(session, caller, patient_id)
    statement = select(CaregiverPatient).where(CaregiverPatient.patient_id == patient.id)
    return paginate(session, statement, CaregiverPatient.id, limit, cursor)


def find_recipients(session: Session, caller: Caller, patient_id: UUID) -> list[UUID]:
    """The users in the care teams of a patient: those to tell about an alarm."""
    statement = (
        select(CareTeamMember.user_id)
        .join(PatientCareTeam, PatientCareTeam.care_team_id == CareTeamMember.care_team_id)
        .where(PatientCareTeam.patient_id == patient_id, PatientCareTeam.org_id == caller.org_id)
        .distinct()
        .order_by(CareTeamMember.user_id)
    )
    return list(session.scalars(statement))
