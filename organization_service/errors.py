"""Errors of the organization service."""

from common.errors import ApiError


class UnreachableContact(ApiError):
    status, id = 400, "HG-ORG-001"
    messages = {
        "es": "Un contacto necesita un correo o un teléfono. Indique al menos uno.",
        "en": "A contact needs an e-mail or a telephone. Give at least one.",
    }


class InvitationOver(ApiError):
    status, id = 409, "HG-ORG-003"
    messages = {
        "es": "La invitación ya se usó, se retiró o caducó. Pida otra a la organización.",
        "en": "The invitation was used, revoked or has expired. Ask the organisation for another.",
    }


class FaintColor(ApiError):
    status, id = 400, "HG-ORG-004"
    messages = {
        "es": "El texto blanco no se lee sobre {color} (contraste {contrast}:1, mínimo 4.5:1). Elija uno más oscuro.",
        "en": "White text cannot be read on {color} (contrast {contrast}:1, at least 4.5:1). Choose a darker one.",
    }


class RoleBeyondReach(ApiError):
    status, id = 403, "HG-ORG-005"
    messages = {
        "es": "Nadie invita a un papel por encima del suyo. Pídalo a quien administra la organización.",
        "en": "Nobody invites to a role above their own. Ask the organisation's administrator.",
    }


class HalfQuietHours(ApiError):
    status, id = 400, "HG-ORG-002"
    messages = {
        "es": "Las horas de silencio tienen principio y fin. Indique los dos o ninguno.",
        "en": "Quiet hours have a beginning and an end. Give both or neither.",
    }
