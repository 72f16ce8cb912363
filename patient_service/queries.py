"""Reads of the patient service, within the caller's organisation and care relations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, false, func, or_, select
from sqlalchemy.orm import Session

from common.auth import Caller
from common.database import get_one
from common.pagination import Page, paginate
from patient_service.models import (
    WHOLE_ORGANIZATION,
    CaregiverPatient,
    CareTeam,
    CareTeamMember,
    OrganizationRules,
    Patient,
    PatientAccess,
    PatientCareTeam,
)


def visible_patients(caller: Caller) -> Select[Any]:
    """The patients of the caller's organisation whom the caller may see.

    A caregiver or patient sees those to whom a live link binds them. A clinician sees as well those of their care
    teams and those opened to them for now, or all where the organisation says so. Administrators and viewers see all.
    """
    statement = select(Patient).where(Patient.org_id == caller.org_id)
    if caller.oversees_organization:
        return statement
    if caller.user_id is None:
        return statement.where(false())
    linked = exists().where(
        CaregiverPatient.patient_id == Patient.id,
        CaregiverPatient.user_id == caller.user_id,
        CaregiverPatient.ended_at.is_(None),
    )
    bonds = [Patient.user_id == caller.user_id, linked]
    if not caller.sees_linked_patients_only:
        in_team = exists().where(
            PatientCareTeam.patient_id == Patient.id,
            PatientCareTeam.care_team_id == CareTeamMember.care_team_id,
            CareTeamMember.user_id == caller.user_id,
        )
        opened = exists().where(
            PatientAccess.patient_id == Patient.id,
            PatientAccess.user_id == caller.user_id,
            PatientAccess.expires_at > func.now(),
        )
        bonds += [in_team, opened, _shows_everybody(caller)]
    return statement.where(or_(*bonds))


def _shows_everybody(caller: Caller) -> ColumnElement[bool]:
    return exists().where(
        OrganizationRules.org_id == caller.org_id, OrganizationRules.patient_scope == WHOLE_ORGANIZATION
    )


def find_care(session: Session, caller: Caller, user_id: UUID, roles: list[str]) -> dict[str, Any]:
    """Which patients somebody in these roles may see: every one, or those named."""
    viewer = replace(caller, subject=str(user_id), roles=frozenset(roles), is_service=False)
    whole = select(_shows_everybody(viewer))
    if viewer.oversees_organization or (not viewer.sees_linked_patients_only and session.scalar(whole)):
        return {"everyone": True, "patient_ids": []}
    ids = visible_patients(viewer).with_only_columns(Patient.id).order_by(Patient.id)
    return {"everyone": False, "patient_ids": session.scalars(ids).all()}


def sees_all_of(session: Session, caller: Caller, team: CareTeam) -> bool:
    """Whether a team has no patient whom the caller may not see."""
    seen = visible_patients(caller).with_only_columns(Patient.id)
    hidden = exists().where(PatientCareTeam.care_team_id == team.id, PatientCareTeam.patient_id.not_in(seen))
    return not session.scalar(select(hidden))


def get_unopened_patient(session: Session, caller: Caller, patient_id: UUID) -> Patient:
    """One patient of the organisation, whoever may see them; raises NotFound."""
    return get_one(session, select(Patient).where(Patient.org_id == caller.org_id, Patient.id == patient_id))


def get_access(session: Session, caller: Caller, patient_id: UUID, access_id: UUID) -> PatientAccess:
    """One opening of a patient; raises NotFound."""
    patient = get_patient(session, caller, patient_id)
    return get_one(
        session, select(PatientAccess).where(PatientAccess.patient_id == patient.id, PatientAccess.id == access_id)
    )


def find_accesses(session: Session, caller: Caller, patient_id: UUID, limit: int, cursor: str | None) -> Page:
    """To whom a patient was opened, newest first; raises NotFound."""
    patient = get_patient(session, caller, patient_id)
    statement = select(PatientAccess).where(PatientAccess.patient_id == patient.id)
    return paginate(session, statement, PatientAccess.id, limit, cursor)


def get_patient(session: Session, caller: Caller, patient_id: UUID) -> Patient:
    """One patient; raises NotFound for one the caller may not see."""
    return get_one(session, visible_patients(caller).where(Patient.id == patient_id))


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
    return get_one(session, select(CareTeam).where(CareTeam.org_id == caller.org_id, CareTeam.id == care_team_id))


def find_care_teams(session: Session, caller: Caller, limit: int, cursor: str | None) -> Page:
    """The care teams of the caller's organisation, newest first."""
    statement = select(CareTeam).where(CareTeam.org_id == caller.org_id)
    return paginate(session, statement, CareTeam.id, limit, cursor)


def find_members(session: Session, caller: Caller, care_team_id: UUID, limit: int, cursor: str | None) -> Page:
    """The members of a care team; raises NotFound."""
    team = get_care_team(session, caller, care_team_id)
    statement = select(CareTeamMember).where(CareTeamMember.care_team_id == team.id)
    return paginate(session, statement, CareTeamMember.id, limit, cursor)


def get_member(session: Session, caller: Caller, care_team_id: UUID, user_id: UUID) -> CareTeamMember:
    """One member of a care team; raises NotFound."""
    team = get_care_team(session, caller, care_team_id)
    return get_one(
        session,
        select(CareTeamMember).where(CareTeamMember.care_team_id == team.id, CareTeamMember.user_id == user_id),
    )


def find_caregivers(session: Session, caller: Caller, patient_id: UUID, limit: int, cursor: str | None) -> Page:
    """The caregivers of a patient; raises NotFound."""
    patient = get_patient(session, caller, patient_id)
    statement = select(CaregiverPatient).where(CaregiverPatient.patient_id == patient.id)
    return paginate(session, statement, CaregiverPatient.id, limit, cursor)


def get_caregiver(
    session: Session, caller: Caller, patient_id: UUID, caregiver_id: UUID, *, lock: bool = False
) -> CaregiverPatient:
    """One caregiver's link to a patient, locked on demand; raises NotFound."""
    patient = get_patient(session, caller, patient_id)
    statement = select(CaregiverPatient).where(
        CaregiverPatient.patient_id == patient.id, CaregiverPatient.id == caregiver_id
    )
    return get_one(session, statement.with_for_update() if lock else statement)


def find_ended_link(session: Session, patient: Patient, user_id: UUID) -> CaregiverPatient | None:
    """A caregiver's link to a patient that was ended, locked."""
    statement = select(CaregiverPatient).where(
        CaregiverPatient.patient_id == patient.id,
        CaregiverPatient.user_id == user_id,
        CaregiverPatient.ended_at.is_not(None),
    )
    return session.scalar(statement.with_for_update())


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
