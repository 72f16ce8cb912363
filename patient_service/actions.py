"""Writes of the patient service: one transaction each, with its audit event."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from common.auth import Caller
from common.errors import Forbidden, NotFound
from common.outbox import record
from patient_service import queries
from patient_service.errors import BirthdateInFuture
from patient_service.models import (
    CaregiverPatient,
    CareTeam,
    CareTeamMember,
    Patient,
    PatientAccess,
    PatientCareTeam,
)

log = structlog.get_logger()

ACCESS = timedelta(minutes=60)


def register_patient(session: Session, caller: Caller, **values: Any) -> Patient:
    """Register a patient in the caller's organisation; raises BirthdateInFuture."""
    _check_birthdate(values["birthdate"])
    patient = Patient(org_id=caller.org_id, **values)
    session.add(patient)
    if caller.user_id is not None and not caller.oversees_organization:
        session.flush()
        session.add(_access(caller, patient))
    record(session, caller, "patient.registered", patient, values.keys())
    return patient


def change_patient(session: Session, caller: Caller, patient_id: UUID, **values: Any) -> Patient:
    """Change some fields of a patient; raises NotFound, BirthdateInFuture."""
    patient = queries.get_patient(session, caller, patient_id)
    if "birthdate" in values:
        _check_birthdate(values["birthdate"])
    record(session, caller, "patient.changed", patient, patient.change(**values))
    return patient


def remove_patient(session: Session, caller: Caller, patient_id: UUID) -> None:
    """Remove a patient and all that hangs on them here; raises NotFound."""
    patient = queries.get_patient(session, caller, patient_id)
    session.delete(patient)
    record(session, caller, "patient.removed", patient)


def open_patient(session: Session, caller: Caller, patient_id: UUID, reason: str) -> PatientAccess:
    """Break the glass: let the caller see one patient for an hour; raises NotFound, Forbidden."""
    if caller.sees_linked_patients_only or caller.user_id is None:
        raise Forbidden
    access = _access(caller, queries.get_unopened_patient(session, caller, patient_id), reason)
    session.add(access)
    details = {"patient_id": str(patient_id), "minutes": int(ACCESS.total_seconds() / 60)}
    record(session, caller, "patient.access_opened", access, details)
    log.warning("patient.access_opened", access_id=str(access.id), org_id=str(access.org_id), user_id=caller.subject)
    return access


def _access(caller: Caller, patient: Patient, reason: str | None = None) -> PatientAccess:
    return PatientAccess(
        org_id=patient.org_id,
        patient_id=patient.id,
        user_id=caller.user_id,
        reason=reason,
        expires_at=datetime.now(UTC) + ACCESS,
    )


def _check_birthdate(birthdate: date) -> None:
    if birthdate > datetime.now(UTC).date():
        raise BirthdateInFuture


def create_care_team(session: Session, caller: Caller, name: str) -> CareTeam:
    """Create a care team in the caller's organisation; a second one of the same name is a conflict."""
    team = CareTeam(org_id=caller.org_id, name=name)
    session.add(team)
    record(session, caller, "care_team.created", team)
    return team


def rename_care_team(session: Session, caller: Caller, care_team_id: UUID, name: str) -> CareTeam:
    """Rename a care team; raises NotFound."""
    team = queries.get_care_team(session, caller, care_team_id)
    team.name = name
    record(session, caller, "care_team.renamed", team, ["name"])
    return team


def remove_care_team(session: Session, caller: Caller, care_team_id: UUID) -> None:
    """Remove a care team and its memberships; raises NotFound."""
    team = queries.get_care_team(session, caller, care_team_id)
    session.delete(team)
    record(session, caller, "care_team.removed", team)


def add_member(session: Session, caller: Caller, care_team_id: UUID, user_id: UUID, role: str) -> CareTeamMember:
    """Put a user into a care team; raises NotFound, Forbidden; a second time is a conflict.

    Nobody lets themselves see patients: others put them into a team, or they break the glass.
    """
    team = queries.get_care_team(session, caller, care_team_id)
    if user_id == caller.user_id and not queries.sees_all_of(session, caller, team):
        raise Forbidden
    member = CareTeamMember(org_id=team.org_id, care_team_id=team.id, user_id=user_id, role=role)
    session.add(member)
    record(session, caller, "care_team.member_added", team, {"user_id": str(user_id), "role": role})
    return member


def remove_member(session: Session, caller: Caller, care_team_id: UUID, user_id: UUID) -> None:
    """Take a user out of a care team; raises NotFound."""
    session.delete(queries.get_member(session, caller, care_team_id, user_id))
    record(session, caller, "care_team.member_removed", f"care_teams:{care_team_id}", {"user_id": str(user_id)})


def entrust_patient(session: Session, caller: Caller, patient_id: UUID, care_team_id: UUID) -> CareTeam:
    """Put a patient into the care of a team; raises NotFound; a second time is a conflict."""
    patient = queries.get_patient(session, caller, patient_id)
    team = queries.get_care_team(session, caller, care_team_id)
    session.add(PatientCareTeam(org_id=patient.org_id, patient_id=patient.id, care_team_id=team.id))
    record(session, caller, "patient.entrusted", patient, {"care_team_id": str(team.id)})
    return team


def link_caregiver(
    session: Session, caller: Caller, patient_id: UUID, user_id: UUID, relation: str
) -> CaregiverPatient:
    """Let a caregiver see a patient; raises NotFound; a second link is a conflict."""
    patient = queries.get_patient(session, caller, patient_id)
    link = queries.find_ended_link(session, patient, user_id)
    if link is None:
        link = CaregiverPatient(org_id=patient.org_id, patient_id=patient.id, user_id=user_id)
        session.add(link)
    link.relation, link.ended_at = relation, None
    record(session, caller, "patient.caregiver_linked", patient, {"user_id": str(user_id), "relation": relation})
    return link


def unlink_caregiver(session: Session, caller: Caller, patient_id: UUID, caregiver_id: UUID) -> None:
    """End a caregiver's link to a patient; raises NotFound, also for one that has ended."""
    link = queries.get_caregiver(session, caller, patient_id, caregiver_id, lock=True)
    if link.ended_at is not None:
        raise NotFound
    link.ended_at = datetime.now(UTC)
    record(session, caller, "patient.caregiver_unlinked", f"patients:{patient_id}", {"user_id": str(link.user_id)})
