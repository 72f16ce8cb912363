"""Endpoints of the patient service."""

from common.api import Api, page_of
from common.outbox import record
from common.pagination import PageFilter
from common.permissions import INTERNAL
from common.permissions import Permission as P
from patient_service import actions, queries
from patient_service.schemas import (
    AccessIn,
    AccessOut,
    CaregiverIn,
    CaregiverOut,
    CareOut,
    CareTeamIn,
    CareTeamLink,
    CareTeamOut,
    MemberIn,
    MemberOut,
    PatientChange,
    PatientFilter,
    PatientIn,
    PatientOut,
    RecipientsOut,
    ViewerIn,
)

api = Api("patients")


@api.post("/patients", permission=P.PATIENT_WRITE, body=PatientIn, returns=PatientOut, creates="/patients/{id}")
def register_patient(session, caller, body):
    """Register a patient in the caller's organisation."""
    return actions.register_patient(session, caller, **body)


@api.get("/patients", permission=P.PATIENT_READ, query=PatientFilter, returns=page_of(PatientOut))
def list_patients(session, caller, query):
    """List the patients the caller may see."""
    page = queries.find_patients(session, caller, **query)
    record(session, caller, "patient.listed", "patients", {"count": len(page.items)})
    return page


@api.get("/patients/{patient_id}", permission=P.PATIENT_READ, returns=PatientOut)
def get_patient(session, caller, patient_id):
    """Get one patient."""
    patient = queries.get_patient(session, caller, patient_id)
    record(session, caller, "patient.read", patient)
    return patient


@api.patch("/patients/{patient_id}", permission=P.PATIENT_WRITE, body=PatientChange, returns=PatientOut)
def change_patient(session, caller, patient_id, body):
    """Change some fields of a patient."""
    return actions.change_patient(session, caller, patient_id, **body)


@api.delete("/patients/{patient_id}", permission=P.PATIENT_WRITE)
def remove_patient(session, caller, patient_id):
    """Remove a patient."""
    actions.remove_patient(session, caller, patient_id)


@api.post(
    "/patients/{patient_id}/care-teams",
    permission=P.PATIENT_WRITE,
    body=CareTeamLink,
    returns=CareTeamOut,
    creates="/care-teams/{id}",
)
def entrust_patient(session, caller, patient_id, body):
    """Put a patient into the care of a team."""
    return actions.entrust_patient(session, caller, patient_id, **body)


@api.post(
    "/patients/{patient_id}/caregivers",
    permission=P.PATIENT_WRITE,
    body=CaregiverIn,
    returns=CaregiverOut,
    creates="/patients/{patient_id}/caregivers/{id}",
)
def link_caregiver(session, caller, patient_id, body):
    """Let a caregiver see a patient."""
    return actions.link_caregiver(session, caller, patient_id, **body)


@api.get(
    "/patients/{patient_id}/caregivers", permission=P.PATIENT_READ, query=PageFilter, returns=page_of(CaregiverOut)
)
def list_caregivers(session, caller, patient_id, query):
    """List the caregivers of a patient."""
    page = queries.find_caregivers(session, caller, patient_id, **query)
    record(session, caller, "patient.caregivers_listed", f"patients:{patient_id}")
    return page


@api.get("/patients/{patient_id}/caregivers/{caregiver_id}", permission=P.PATIENT_READ, returns=CaregiverOut)
def get_caregiver(session, caller, patient_id, caregiver_id):
    """Get one caregiver's link to a patient."""
    link = queries.get_caregiver(session, caller, patient_id, caregiver_id)
    record(session, caller, "patient.caregiver_read", f"patients:{patient_id}")
    return link


@api.delete("/patients/{patient_id}/caregivers/{caregiver_id}", permission=P.PATIENT_WRITE)
def unlink_caregiver(session, caller, patient_id, caregiver_id):
    """Let a caregiver see a patient no longer; the link stays, ended."""
    actions.unlink_caregiver(session, caller, patient_id, caregiver_id)


@api.get("/patients/{patient_id}/recipients", permission=INTERNAL, returns=RecipientsOut)
def list_recipients(session, caller, patient_id):
    """List the users to tell about a patient's alarm (for the notification service)."""
    return {"user_ids": queries.find_recipients(session, caller, patient_id)}


@api.post(
    "/patients/{patient_id}/access",
    permission=P.PATIENT_WRITE,
    body=AccessIn,
    returns=AccessOut,
    creates="/patients/{patient_id}/access/{id}",
)
def open_patient(session, caller, patient_id, body):
    """Break the glass: see one patient outside one's care for 60 minutes, for a reason that auditors read."""
    return actions.open_patient(session, caller, patient_id, **body)


@api.get("/patients/{patient_id}/access", permission=P.PATIENT_READ, query=PageFilter, returns=page_of(AccessOut))
def list_accesses(session, caller, patient_id, query):
    """List to whom a patient was opened, and why."""
    page = queries.find_accesses(session, caller, patient_id, **query)
    record(session, caller, "patient.accesses_listed", f"patients:{patient_id}")
    return page


@api.get("/patients/{patient_id}/access/{access_id}", permission=P.PATIENT_READ, returns=AccessOut)
def get_access(session, caller, patient_id, access_id):
    """Get one opening of a patient."""
    access = queries.get_access(session, caller, patient_id, access_id)
    record(session, caller, "patient.access_read", f"patients:{patient_id}")
    return access


@api.post("/internal/care", permission=INTERNAL, body=ViewerIn, returns=CareOut, reads=True)
def find_care(session, caller, body):
    """Say which patients somebody may see (for the services that keep data about patients)."""
    return queries.find_care(session, caller, **body)


@api.post("/care-teams", permission=P.PATIENT_WRITE, body=CareTeamIn, returns=CareTeamOut, creates="/care-teams/{id}")
def create_care_team(session, caller, body):
    """Create a care team."""
    return actions.create_care_team(session, caller, **body)


@api.get("/care-teams", permission=P.PATIENT_READ, query=PageFilter, returns=page_of(CareTeamOut))
def list_care_teams(session, caller, query):
    """List the care teams of the organisation."""
    return queries.find_care_teams(session, caller, **query)


@api.get("/care-teams/{care_team_id}", permission=P.PATIENT_READ, returns=CareTeamOut)
def get_care_team(session, caller, care_team_id):
    """Get one care team."""
    return queries.get_care_team(session, caller, care_team_id)


@api.put("/care-teams/{care_team_id}", permission=P.PATIENT_WRITE, body=CareTeamIn, returns=CareTeamOut)
def rename_care_team(session, caller, care_team_id, body):
    """Rename a care team."""
    return actions.rename_care_team(session, caller, care_team_id, **body)


@api.delete("/care-teams/{care_team_id}", permission=P.PATIENT_WRITE)
def remove_care_team(session, caller, care_team_id):
    """Remove a care team."""
    actions.remove_care_team(session, caller, care_team_id)


@api.post(
    "/care-teams/{care_team_id}/members",
    permission=P.PATIENT_WRITE,
    body=MemberIn,
    returns=MemberOut,
    creates="/care-teams/{care_team_id}/members/{user_id}",
)
def add_member(session, caller, care_team_id, body):
    """Put a user into a care team."""
    return actions.add_member(session, caller, care_team_id, **body)


@api.get("/care-teams/{care_team_id}/members", permission=P.PATIENT_READ, query=PageFilter, returns=page_of(MemberOut))
def list_members(session, caller, care_team_id, query):
    """List the members of a care team."""
    return queries.find_members(session, caller, care_team_id, **query)


@api.get("/care-teams/{care_team_id}/members/{user_id}", permission=P.PATIENT_READ, returns=MemberOut)
def get_member(session, caller, care_team_id, user_id):
    """Get one member of a care team."""
    return queries.get_member(session, caller, care_team_id, user_id)


@api.delete("/care-teams/{care_team_id}/members/{user_id}", permission=P.PATIENT_WRITE)
def remove_member(session, caller, care_team_id, user_id):
    """Take a user out of a care team."""
    actions.remove_member(session, caller, care_team_id, user_id)
