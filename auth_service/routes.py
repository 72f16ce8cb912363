"""Endpoints that everybody uses for their own account and sessions.

Each works on the caller's own rows, whatever the organisation: hence Tenancy.ALL. Passwords are hashed before the
transaction, because that takes longer than a row may stay locked.
"""

from auth_service import actions, credentials, devices, queries, second_factor, sessions, sign_in
from auth_service.schemas import (
    CodeIn,
    EnrolmentOut,
    LoginIn,
    MeOut,
    PairedOut,
    PairingCodeIn,
    PasswordChangeIn,
    PasswordForgottenIn,
    PasswordIn,
    PasswordResetIn,
    RecoveryCodesOut,
    RefreshIn,
    RegistrationIn,
    SecondFactorOff,
    SessionOut,
    SignedInOut,
    SwitchIn,
    UserOut,
)
from common.api import Api, Tenancy, page_of
from common.pagination import PageFilter
from common.permissions import AUTHENTICATED, PUBLIC

api = Api("account")


def hash_password(hasher, body):
    """The hash of the body's password, which the view does not see."""
    return credentials.hash_new(hasher, body.pop("password"), body["email"], body["name"])


@api.post(
    "/auth/register",
    permission=PUBLIC,
    body=RegistrationIn,
    returns=UserOut,
    creates="/auth/users/{id}",
    tenancy=Tenancy.ALL,
    rate_class="login",
    prepare=hash_password,
)
def register(session, caller, prepared, body):
    """Register as a patient."""
    return actions.register_user(session, caller, password_hash=prepared, **body)


def try_password(database, hasher, vault, body):
    """What hashing says of the body's password, which the view does not see."""
    given = {name: body.pop(name, None) for name in ("email", "password", "device_token")}
    return sign_in.try_password(database, hasher, vault, **given)


@api.post(
    "/auth/login",
    permission=PUBLIC,
    body=LoginIn,
    returns=SignedInOut,
    tenancy=Tenancy.ALL,
    rate_class="login",
    prepare=try_password,
)
def log_in(session, caller, vault, signer, prepared, body):
    """Log in."""
    return sign_in.log_in(session, caller, vault, signer, prepared, **body)


@api.post(
    "/auth/refresh", permission=PUBLIC, body=RefreshIn, returns=SignedInOut, tenancy=Tenancy.ALL, rate_class="login"
)
def refresh(session, caller, signer, body):
    """Exchange a refresh token for new tokens."""
    return sessions.renew(session, caller, signer, **body)


@api.post(
    "/auth/devices/pair",
    permission=PUBLIC,
    body=PairingCodeIn,
    returns=PairedOut,
    tenancy=Tenancy.ALL,
    rate_class="login",
)
def pair_device(session, caller, vault, signer, body):
    """Exchange a pairing code for a device's tokens."""
    return devices.pair(session, caller, vault, signer, **body)


@api.post(
    "/auth/switch-organization",
    permission=AUTHENTICATED,
    body=SwitchIn,
    returns=SignedInOut,
    tenancy=Tenancy.ALL,
    rate_class="login",
    revokes_token=True,
)
def switch_organization(session, caller, signer, body):
    """Leave this session for one in another of the caller's organisations."""
    return sessions.switch_organization(session, caller, signer, body["organization_id"])


@api.post("/auth/logout", permission=AUTHENTICATED, tenancy=Tenancy.ALL, enrolment=True)
def log_out(session, caller):
    """Close this session."""
    actions.log_out(session, caller)


@api.post("/auth/logout-all", permission=AUTHENTICATED, tenancy=Tenancy.ALL)
def log_out_everywhere(session, caller):
    """Close all of the caller's sessions."""
    actions.log_out_everywhere(session, caller)


@api.get("/auth/me", permission=AUTHENTICATED, returns=MeOut, tenancy=Tenancy.ALL, enrolment=True)
def get_me(session, caller):
    """Get the caller's own account, as it is in the organisation of the session."""
    return queries.get_account_here(session, caller)


@api.get("/auth/sessions", permission=AUTHENTICATED, query=PageFilter, returns=page_of(SessionOut), tenancy=Tenancy.ALL)
def list_sessions(session, caller, query):
    """List the caller's live sessions."""
    return queries.find_sessions(session, caller, **query)


@api.delete("/auth/sessions/{session_id}", permission=AUTHENTICATED, tenancy=Tenancy.ALL)
def close_session(session, caller, session_id):
    """Close one of the caller's sessions."""
    actions.close_session(session, caller, session_id)


# --- credentials -----------------------------------------------------------------------------------------------------


def try_own_password(database, caller, hasher, vault, body):
    """What hashing says of the caller's password."""
    return credentials.try_own_password(database, caller, hasher, vault, body["password"])


def try_and_hash(database, caller, hasher, vault, body):
    """What hashing says of the caller's password, and the hash of the next."""
    return credentials.prepare_change(database, caller, hasher, vault, **body)


@api.post(
    "/auth/password/change",
    permission=AUTHENTICATED,
    body=PasswordChangeIn,
    tenancy=Tenancy.ALL,
    rate_class="login",
    prepare=try_and_hash,
)
def change_password(session, caller, vault, prepared):
    """Change the caller's password and close their other sessions."""
    return credentials.change_password(session, caller, vault, *prepared)


@api.post("/auth/password/forgot", permission=PUBLIC, body=PasswordForgottenIn, tenancy=Tenancy.ALL, rate_class="login")
def forgot_password(session, caller, body):
    """Have a link mailed with which the password can be set anew."""
    credentials.request_reset(session, caller, **body)


def prepare_reset(database, hasher, vault, body):
    """Whose password the letter's token opens, and the hash of the next."""
    return credentials.prepare_reset(database, hasher, vault, **body)


@api.post(
    "/auth/password/reset",
    permission=PUBLIC,
    body=PasswordResetIn,
    tenancy=Tenancy.ALL,
    rate_class="login",
    prepare=prepare_reset,
)
def reset_password(session, caller, vault, prepared):
    """Set a new password with the token from the letter."""
    credentials.reset_password(session, caller, vault, prepared)


@api.post(
    "/auth/totp/enrol",
    permission=AUTHENTICATED,
    body=PasswordIn,
    returns=EnrolmentOut,
    tenancy=Tenancy.ALL,
    enrolment=True,
    rate_class="login",
    prepare=try_own_password,
)
def enrol_second_factor(session, caller, vault, prepared):
    """Get a secret for an authenticator app; it counts once a first code confirms it."""

    def enrol(session, caller, user):
        return second_factor.enrol(session, caller, vault, user)

    return sign_in.with_password(session, caller, vault, prepared, enrol)


@api.post(
    "/auth/totp/confirm",
    permission=AUTHENTICATED,
    body=CodeIn,
    returns=RecoveryCodesOut,
    tenancy=Tenancy.ALL,
    enrolment=True,
)
def confirm_second_factor(session, caller, vault, body):
    """Switch the second factor on with a first code."""
    user = queries.get_self(session, caller, lock=True)
    return {"recovery_codes": second_factor.confirm(session, caller, vault, user, **body)}


@api.post(
    "/auth/totp/disable",
    permission=AUTHENTICATED,
    body=SecondFactorOff,
    tenancy=Tenancy.ALL,
    rate_class="login",
    prepare=try_own_password,
)
def disable_second_factor(session, caller, vault, prepared, body):
    """Go without the second factor from now on."""

    def disable(session, caller, user):
        return second_factor.disable(session, caller, vault, user, body["code"])

    return sign_in.with_password(session, caller, vault, prepared, disable)
