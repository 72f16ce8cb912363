"""Errors of the auth service."""

from common.errors import ApiError


class BadCredentials(ApiError):
    status, id = 401, "HG-AUTH-003"
    messages = {
        "es": "Credenciales incorrectas. Revise los datos o restablezca la contraseña.",
        "en": "Wrong credentials. Check them or reset the password.",
    }


class RefreshTokenReused(ApiError):
    status, id = 401, "HG-AUTH-004"
    messages = {
        "es": "El token de renovación ya se había usado: la sesión queda cerrada. Inicie sesión otra vez.",
        "en": "The refresh token had been used before: the session is closed. Log in again.",
    }


class AccountLocked(ApiError):
    status, id = 423, "HG-AUTH-005"
    messages = {
        "es": "Cuenta bloqueada por demasiados intentos. Espere el tiempo indicado en Retry-After.",
        "en": "Account locked after too many attempts. Wait for the time given in Retry-After.",
    }

    def __init__(self, retry_after: int) -> None:
        super().__init__(headers={"Retry-After": str(retry_after)})


class AccountInactive(ApiError):
    status, id = 403, "HG-AUTH-006"
    messages = {
        "es": "La cuenta no está activa. Pida al administrador que la active.",
        "en": "The account is not active. Ask the administrator to activate it.",
    }


class SecondFactorRequired(ApiError):
    status, id = 401, "HG-AUTH-007"
    messages = {
        "es": "Falta el segundo factor. Repita el inicio de sesión con el campo code.",
        "en": "The second factor is missing. Log in again with the field code.",
    }


class InvalidResetToken(ApiError):
    status, id = 400, "HG-AUTH-008"
    messages = {
        "es": "El enlace para restablecer la contraseña no vale o ha caducado. Pida otro.",
        "en": "The link to reset the password is invalid or has expired. Ask for another.",
    }


class BeyondOwnPermissions(ApiError):
    status, id = 403, "HG-AUTH-009"
    messages = {
        "es": "No puede dar ni administrar permisos que usted no tiene.",
        "en": "You cannot grant or administer permissions that you do not hold.",
    }


class RoleOfDevices(ApiError):
    status, id = 409, "HG-AUTH-014"
    messages = {
        "es": "El rol device es de los dispositivos. Empareje el dispositivo con un código; dé otro rol a la persona.",
        "en": "The role device belongs to devices. Pair the device with a code; give a person another role.",
    }


class SecondFactorState(ApiError):
    status, id = 409, "HG-AUTH-010"
    messages = {
        "es": "El segundo factor no está en el estado que la operación necesita. Consulte /auth/me.",
        "en": "The second factor is not in the state this operation needs. See /auth/me.",
    }


class InvalidPairingCode(ApiError):
    status, id = 401, "HG-AUTH-012"
    messages = {
        "es": "El código de emparejamiento no vale, se usó o ha caducado. Pida otro a quien administra el dispositivo.",
        "en": "The pairing code is wrong, used or has expired. Ask whoever manages the device for another.",
    }


class BuiltInRole(ApiError):
    status, id = 409, "HG-AUTH-011"
    messages = {
        "es": "El rol pertenece al sistema: no se puede borrar, y superadmin no se puede cambiar.",
        "en": "The role belongs to the system: it cannot be deleted, and superadmin cannot be changed.",
    }
