"""Wire shapes of the organization service."""

from common import fields
from common.pagination import PageFilter
from organization_service.models import (
    BASE_ROLES,
    LOCALES,
    MAX_RETENTION_DAYS,
    MIN_RETENTION_DAYS,
    PATIENT_SCOPES,
)

CODE = r"^[A-Za-z0-9][A-Za-z0-9_-]*\Z"
PHONE = r"^\+?[0-9][0-9 ()-]*\Z"
ROLE = r"^[a-z][a-z0-9_]*\Z"
COLOR = r"^#[0-9a-f]{6}\Z"
CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z"


class OrganizationIn(fields.Schema):
    """An organisation to create; its code never changes."""

    code = fields.Text(max_length=60, pattern=CODE, required=True)
    name = fields.Text(max_length=160, required=True)


class OrganizationChange(fields.Schema):
    """What to change of an organisation; absent fields stay."""

    name = fields.Text(max_length=160)


class OrganizationOut(fields.Schema):
    """An organisation."""

    id = fields.Uuid()
    code = fields.Text(max_length=60)
    name = fields.Text(max_length=160)
    created_at = fields.DateTime()
    updated_at = fields.DateTime()


class OrganizationFilter(PageFilter):
    """Search by part of the name, or by code."""

    q = fields.Text(max_length=160, load_default=None)
    code = fields.Text(max_length=60, pattern=CODE, load_default=None)


class SettingsChange(fields.Schema):
    """What to change of an organisation's rules; absent fields stay."""

    locale = fields.Choice(LOCALES)
    timezone = fields.Text(max_length=64, pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*\Z")
    retention_days = fields.Integer(MIN_RETENTION_DAYS, MAX_RETENTION_DAYS)
    quiet_from = fields.Text(max_length=5, pattern=CLOCK, allow_none=True)
    quiet_until = fields.Text(max_length=5, pattern=CLOCK, allow_none=True)
    second_factor_required = fields.Boolean()
    patient_scope = fields.Choice(PATIENT_SCOPES)


class SettingsOut(fields.Schema):
    """An organisation's rules. Quiet hours are in its time zone; a critical alarm ignores them."""

    org_id = fields.Uuid()
    locale = fields.Choice(LOCALES)
    timezone = fields.Text(max_length=64)
    retention_days = fields.Integer()
    quiet_from = fields.Text(allow_none=True)
    quiet_until = fields.Text(allow_none=True)
    second_factor_required = fields.Boolean()
    patient_scope = fields.Choice(PATIENT_SCOPES)
    updated_at = fields.DateTime()


class ContactIn(fields.Schema):
    """Somebody to call; an e-mail or a telephone is needed."""

    name = fields.Text(max_length=120, required=True)
    function = fields.Text(max_length=80, load_default=None, allow_none=True)
    email = fields.Email(load_default=None, allow_none=True)
    phone = fields.Text(max_length=30, pattern=PHONE, load_default=None, allow_none=True)


class ContactChange(fields.Schema):
    """What to change of a contact; absent fields stay."""

    name = fields.Text(max_length=120)
    function = fields.Text(max_length=80, allow_none=True)
    email = fields.Email(allow_none=True)
    phone = fields.Text(max_length=30, pattern=PHONE, allow_none=True)


class ContactOut(fields.Schema):
    """Somebody to call."""

    id = fields.Uuid()
    org_id = fields.Uuid()
    name = fields.Text(max_length=120)
    function = fields.Text(max_length=80, allow_none=True)
    email = fields.Email(allow_none=True)
    phone = fields.Text(max_length=30, allow_none=True)
    created_at = fields.DateTime()
    updated_at = fields.DateTime()


class BrandChange(fields.Schema):
    """What to change of an organisation's looks; absent fields stay. Colours are `#rrggbb`, under white text."""

    primary_color = fields.Text(max_length=7, pattern=COLOR)
    secondary_color = fields.Text(max_length=7, pattern=COLOR)
    logo_media_id = fields.Uuid(allow_none=True)


class BrandOut(fields.Schema):
    """An organisation's looks; the logo is downloaded from the media service."""

    org_id = fields.Uuid()
    primary_color = fields.Text()
    secondary_color = fields.Text()
    logo_media_id = fields.Uuid(allow_none=True)
    updated_at = fields.DateTime()


class RoleIn(fields.Schema):
    """A name for one of the suite's roles."""

    code = fields.Text(max_length=40, pattern=ROLE, required=True)
    name = fields.Text(max_length=100, required=True)
    base_role = fields.Choice(BASE_ROLES, required=True)


class RoleChange(fields.Schema):
    """What to change of a role; absent fields stay."""

    name = fields.Text(max_length=100)


class RoleOut(fields.Schema):
    """A role inside an organisation, and the suite's role that it stands for."""

    id = fields.Uuid()
    org_id = fields.Uuid()
    code = fields.Text()
    name = fields.Text()
    base_role = fields.Choice(BASE_ROLES)


class InvitationIn(fields.Schema):
    """Somebody to invite into a role: one of the suite's, or the code of one of the organisation's.

    Without `language` the letter is in the organisation's.
    """

    email = fields.Email(required=True)
    role = fields.Text(max_length=40, pattern=ROLE, required=True)
    valid_days = fields.Integer(1, 30, load_default=7)
    language = fields.Choice(LOCALES, load_default=None)


class InvitationOut(fields.Schema):
    """An invitation."""

    id = fields.Uuid()
    org_id = fields.Uuid()
    email = fields.Email()
    role = fields.Text()
    language = fields.Choice(LOCALES)
    state = fields.Choice(["pending", "accepted", "revoked", "expired"])
    expires_at = fields.DateTime()
    created_at = fields.DateTime()


class NewInvitationOut(InvitationOut):
    """An invitation just made, with the token that accepts it: it is shown this once."""

    token = fields.Text()


class InvitationLetterOut(fields.Schema):
    """An invitation to send; `token` belongs into its link."""

    kind = fields.Text()
    email = fields.Email()
    language = fields.Choice(LOCALES)
    organization = fields.Text()
    token = fields.Text()
    expires_at = fields.DateTime()


class JoinedOut(fields.Schema):
    """What an accepted invitation gave."""

    org_id = fields.Uuid()
    role = fields.Choice(BASE_ROLES)
