"""Errors of the organization service."""

from common.errors import ApiError


class UnreachableContact(ApiError):
    status, id = 400, "HG-ORG-001"
    messages = {
        "es": "Un contacto necesita un correo o un teléfono. Indique al menos uno.",
        "en": "A contact needs an e-mail or a telephone. Give at least one.",
    }


class HalfQuietHours(ApiError):
    status, id = 400, "HG-ORG-002"
    messages = {
        "es": "Las horas de silencio tienen principio y fin. Indique los dos o ninguno.",
        "en": "Quiet hours have a beginning and an end. Give both or neither.",
    }
