"""Wire shapes of the patient service."""

from common import fields
from common.pagination import PageFilter
from patient_service.models import RELATIONS, RISK_LEVELS, SEXES, TEAM_ROLES


class PatientIn(fields.Schema):
    """A patient to register."""

    name = fields.Text(max_length=120, required=True)
    email = fields.Email(load_default=None, allow_none=True)
    birthdate = fields.Date(required=True)
    sex = fields.Choice(SEXES, required=True)
    risk_level = fields.Choice(RISK_LEVELS, load_default="low")
    user_id = fields.Uuid(load_default=None, allow_none=True)


class PatientChange(fields.Schema):
    """What to change of a patient; absent fields stay."""

    name = fields.Text(max_length=120)
    email = fields.Email(allow_none=True)
    birthdate = fields.Date()
    sex = fields.Choice(SEXES)
    risk_level = fields.Choice(RISK_LEVELS)
    user_id = fields.Uuid(allow_none=True)


class PatientOut(fields.Schema):
    """A patient."""

    id = fields.Uuid()
    org_id = fields.Uuid()
    user_id = fields.Uuid(allow_none=True)
    name = fields.Text()
    email = fields.Email(allow_none=True)
    birthdate = fields.Date()
    sex = fields.Choice(SEXES)
    risk_level = fields.Choice(RISK_LEVELS)
    created_at = fields.DateTime()
    updated_at = fields.DateTime()


class PatientFilter(PageFilter):
    """Search by part of the name, by risk level, or by care team."""

    q = fields.Text(max_length=120, load_default=None)
    risk_level = fields.Choice(RISK_LEVELS, load_default=None)
    care_team = fields.Uuid(load_default=None)


class CareTeamIn(fields.Schema):
    """A care team to create or rename."""

    name = fields.Text(max_length=120, required=True)


class CareTeamOut(fields.Schema):
    """A care team."""

    id = fields.Uuid()
    org_id = fields.Uuid()
    name = fields.Text()
    created_at = fields.DateTime()


class MemberIn(fields.Schema):
    """A user to put into a care team."""

    user_id = fields.Uuid(required=True)
    role = fields.Choice(TEAM_ROLES, required=True)


class MemberOut(fields.Schema):
    """A user's place in a care team."""

    id = fields.Uuid()
    care_team_id = fields.Uuid()
    user_id = fields.Uuid()
    role = fields.Choice(TEAM_ROLES)


class CareTeamLink(fields.Schema):
    """A care team to entrust a patient to."""

    care_team_id = fields.Uuid(required=True)


class CaregiverIn(fields.Schema):
    """A caregiver to link to a patient."""

    user_id = fields.Uuid(required=True)
    relation = fields.Choice(RELATIONS, required=True)


class CaregiverOut(fields.Schema):
    """A caregiver's link to a patient."""

    id = fields.Uuid()
    patient_id = fields.Uuid()
    user_id = fields.Uuid()
    relation = fields.Choice(RELATIONS)
    ended_at = fields.DateTime(allow_none=True)


class AccessIn(fields.Schema):
    """Why a patient has to be seen who is not in the caller's care."""

    reason = fields.Text(min_length=10, max_length=500, required=True)


class AccessOut(fields.Schema):
    """A patient opened to somebody for a time; without a reason because they registered them."""

    id = fields.Uuid()
    patient_id = fields.Uuid()
    user_id = fields.Uuid()
    reason = fields.Text(allow_none=True)
    expires_at = fields.DateTime()
    created_at = fields.DateTime()


class ViewerIn(fields.Schema):
    """Somebody of the organisation, and the roles they act in."""

    user_id = fields.Uuid(required=True)
    roles = fields.ListOf(fields.Text(max_length=40), required=True, max_items=100)


class CareOut(fields.Schema):
    """The patients whom somebody may see: every one of the organisation, or those named."""

    everyone = fields.Boolean()
    patient_ids = fields.ListOf(fields.Uuid(), max_items=100_000)


class RecipientsOut(fields.Schema):
    """The users to tell about a patient's alarm."""

    user_ids = fields.ListOf(fields.Uuid())
