"""Errors of the user service."""

from common.errors import ApiError


class HalfQuietHours(ApiError):
    status, id = 400, "HG-USR-001"
    messages = {
        "es": "Las horas de silencio tienen principio y fin. Indique los dos o ninguno.",
        "en": "Quiet hours have a beginning and an end. Give both or neither.",
    }


class RoleBeyondReach(ApiError):
    status, id = 403, "HG-USR-002"
    messages = {
        "es": "Nadie concede un papel por encima del suyo. Pídalo a quien administra la organización.",
        "en": "Nobody gives a role above their own. Ask the organisation's administrator.",
    }
