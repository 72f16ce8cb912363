"""Wire shapes of what administrators do: the organisation's accounts, and the roles of all."""

from auth_service.models import LANGUAGES, USER_STATUSES
from auth_service.roles import ROLE_CODE
from auth_service.schemas import RegistrationIn
from common import fields
from common.pagination import PageFilter
from common.permissions import Permission

# --- accounts --------------------------------------------------------------------------------------------------------


class UserIn(RegistrationIn):
    """An account to make in the organisation."""

    roles = fields.ListOf(fields.Text(pattern=ROLE_CODE, max_length=40), max_items=8, min_items=1, required=True)


class UserChange(fields.Schema):
    """What to change of an account; absent fields stay."""

    name = fields.Text(max_length=100)
    email = fields.Email()
    language = fields.Choice(LANGUAGES)


class StatusIn(fields.Schema):
    """The status to give to an account."""

    status = fields.Choice(USER_STATUSES, required=True)


class UserFilter(PageFilter):
    """Search by part of the name or address, by role, or by status."""

    q = fields.Text(max_length=120, load_default=None)
    role = fields.Text(max_length=40, load_default=None)
    status = fields.Choice(USER_STATUSES, load_default=None)


# --- roles and catalogues --------------------------------------------------------------------------------------------


class RoleIn(fields.Schema):
    """A role to make."""

    code = fields.Text(pattern=ROLE_CODE, max_length=40, required=True)
    name = fields.Text(max_length=100, required=True)
    permissions = fields.ListOf(fields.Choice(Permission), max_items=100, load_default=list)


class RoleName(fields.Schema):
    """What to call a role."""

    name = fields.Text(max_length=100, required=True)


class RoleOut(fields.Schema):
    """A role."""

    id = fields.Uuid()
    code = fields.Text()
    name = fields.Text()
    built_in = fields.Boolean()
    permissions = fields.ListOf(fields.Text())


class PermissionOut(fields.Schema):
    """A permission."""

    code = fields.Text()


class CatalogueEntryOut(fields.Schema):
    """An entry of a catalogue."""

    code = fields.Text()
    label_es = fields.Text()
    label_en = fields.Text()
