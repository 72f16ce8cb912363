"""Wire shapes of what everybody does with their own account and sessions."""

from auth_service.models import LANGUAGES, PLATFORMS, USER_STATUSES
from auth_service.passwords import MAX_LENGTH, MIN_LENGTH
from common import fields
from common.auth import ENROLMENT


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
