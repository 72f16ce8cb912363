"""Wire shapes of the auth service."""

from auth_service.models import LANGUAGES, PLATFORMS, USER_STATUSES
from auth_service.passwords import MAX_LENGTH, MIN_LENGTH
from common import fields
from common.auth import ENROLMENT
from common.pagination import PageFilter
from common.permissions import Permission

_ROLE_CODE = r"^[a-z][a-z0-9_]{1,39}\Z"


def _new_password() -> fields.Text:
    return fields.Text(min_length=MIN_LENGTH, max_length=MAX_LENGTH, required=True)


def _given_password() -> fields.Text:
    return fields.Text(max_length=MAX_LENGTH, required=True)


# --- accounts --------------------------------------------------------------------------------------------------------


class RegistrationIn(fields.Schema):
    """Somebody who registers by themselves."""

    name = fields.Text(max_length=100, required=True)
    email = fields.Email(required=True)
    password = _new_password()
    language = fields.Choice(LANGUAGES, load_default="es")


class UserIn(RegistrationIn):
    """An account to make in the organisation."""

    roles = fields.ListOf(fields.Text(pattern=_ROLE_CODE, max_length=40), max_items=8, min_items=1, required=True)


class UserChange(fields.Schema):
    """What to change of an account; absent fields stay."""

    name = fields.Text(max_length=100)
    email = fields.Email()
    language = fields.Choice(LANGUAGES)


class StatusIn(fields.Schema):
    """The status to give to an account."""

    status = fields.Choice(USER_STATUSES, required=True)


class UserOut(fields.Schema):
    """An account."""

    id = fields.Uuid()
    org_id = fields.Uuid(allow_none=True)
    email = fields.Email()
    name = fields.Text()
    language = fields.Choice(LANGUAGES)
    status = fields.Choice(USER_STATUSES)
    roles = fields.ListOf(fields.Text())
    second_factor = fields.Boolean()
    created_at = fields.DateTime()
    updated_at = fields.DateTime()


class MeOut(UserOut):
    """The caller's own account, in the organisation of the session and with what it allows there."""

    permissions = fields.ListOf(fields.Text())


class UserFilter(PageFilter):
    """Search by part of the name or address, by role, or by status."""

    q = fields.Text(max_length=120, load_default=None)
    role = fields.Text(max_length=40, load_default=None)
    status = fields.Choice(USER_STATUSES, load_default=None)


# --- sessions --------------------------------------------------------------------------------------------------------


class LoginIn(fields.Schema):
    """Credentials, and what the client says of itself. `code` is the second factor's, or a recovery code."""

    email = fields.Email(required=True)
    password = _given_password()
    code = fields.Text(max_length=20, load_default=None)
    device_token = fields.Text(max_length=200, load_default=None)
    platform = fields.Choice(PLATFORMS, load_default=None)
    client_id = fields.Text(max_length=100, load_default=None)
    device_fingerprint = fields.Text(max_length=200, load_default=None)


class RefreshIn(fields.Schema):
    """A refresh token to exchange."""

    refresh_token = fields.Text(max_length=200, required=True)


class SignedInOut(fields.Schema):
    """Tokens for one organisation; without `user` they are a paired device's.

    `device_token` comes with a login only: keep it, and send it with the next. With the restriction `enrolment` the
    access token serves to enrol a second factor and for nothing else; then log in again.
    """

    access_token = fields.Text()
    refresh_token = fields.Text(allow_none=True)
    token_type = fields.Text()
    expires_in = fields.Integer()
    device_token = fields.Text(allow_none=True)
    restriction = fields.Choice([ENROLMENT], allow_none=True)
    org_id = fields.Uuid(allow_none=True)
    user = fields.Nested(UserOut, allow_none=True)


class SwitchIn(fields.Schema):
    """One of the caller's organisations."""

    organization_id = fields.Uuid(required=True)


class SessionOut(fields.Schema):
    """A session of the caller's."""

    id = fields.Uuid()
    org_id = fields.Uuid(allow_none=True)
    platform = fields.Choice(PLATFORMS, allow_none=True)
    user_agent = fields.Text(allow_none=True)
    ip = fields.Text(allow_none=True)
    created_at = fields.DateTime()
    last_used_at = fields.DateTime()
    expires_at = fields.DateTime()


class PairingCodeIn(fields.Schema):
    """The code that somebody reads to a device."""

    code = fields.Text(max_length=20, required=True)


class PairedOut(fields.Schema):
    """A device's tokens; the refresh token serves at /auth/refresh like a user's."""

    access_token = fields.Text()
    refresh_token = fields.Text()
    token_type = fields.Text()
    expires_in = fields.Integer()
    device_id = fields.Uuid()
    org_id = fields.Uuid()


# --- credentials -----------------------------------------------------------------------------------------------------


class PasswordChangeIn(fields.Schema):
    """The password in force and the new one."""

    current_password = _given_password()
    password = _new_password()


class PasswordForgottenIn(fields.Schema):
    """The address of an account whose password is lost."""

    email = fields.Email(required=True)


class PasswordResetIn(fields.Schema):
    """The token from the letter and the new password."""

    token = fields.Text(max_length=200, required=True)
    password = _new_password()


class PasswordIn(fields.Schema):
    """The password in force, to show that it is really you."""

    password = _given_password()


class CodeIn(fields.Schema):
    """A code of the second factor."""

    code = fields.Text(max_length=20, required=True)


class SecondFactorOff(PasswordIn, CodeIn):
    """Both factors, to go without the second from now on."""


class EnrolmentOut(fields.Schema):
    """The secret to put into an authenticator app, as text and as the address its QR code holds."""

    secret = fields.Text()
    uri = fields.Text()


class RecoveryCodesOut(fields.Schema):
    """Codes that stand in for the second factor once each; shown this one time."""

    recovery_codes = fields.ListOf(fields.Text())


# --- roles and catalogues --------------------------------------------------------------------------------------------


class RoleIn(fields.Schema):
    """A role to make."""

    code = fields.Text(pattern=_ROLE_CODE, max_length=40, required=True)
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


# --- for other services ----------------------------------------------------------------------------------------------


class RevocationQuery(fields.Schema):
    """What an access token says of itself. `issued_at` in unix seconds."""

    session_id = fields.Text(max_length=60, min_length=0, load_default="")
    subject = fields.Text(max_length=60, required=True)
    issued_at = fields.Number(0, required=True)


class RevocationOut(fields.Schema):
    """Whether a token counts no more."""

    revoked = fields.Boolean()


class JoinIn(fields.Schema):
    """The role to have in the organisation."""

    role = fields.Text(pattern=_ROLE_CODE, max_length=40, required=True)


class DevicePairingIn(fields.Schema):
    """The device to issue a code for."""

    device_id = fields.Uuid(required=True)


class DevicePairingOut(fields.Schema):
    """A code for a device; it is shown this once."""

    code = fields.Text()
    expires_at = fields.DateTime()


class ContactsIn(fields.Schema):
    """The users to find."""

    user_ids = fields.ListOf(fields.Uuid(), max_items=1000, required=True)


class ContactOut(fields.Schema):
    """Where and in which language to write to a user."""

    user_id = fields.Uuid(attribute="id")
    email = fields.Email()
    language = fields.Choice(LANGUAGES)


class ContactsOut(fields.Schema):
    """Those of the users asked for who are active in the organisation."""

    contacts = fields.ListOf(fields.Nested(ContactOut))


class LetterOut(fields.Schema):
    """A letter to send. `token` belongs into the link of a `password_reset`."""

    kind = fields.Text()
    email = fields.Email()
    name = fields.Text()
    language = fields.Choice(LANGUAGES)
    token = fields.Text(allow_none=True)
    expires_at = fields.DateTime()
