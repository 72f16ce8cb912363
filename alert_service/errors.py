"""Errors of the alert service."""

from common.errors import ApiError


class InvalidTransition(ApiError):
    status, id = 409, "HG-ALR-001"
    messages = {
        "es": "Este paso no es posible en el estado «{current}». {advice_es}",
        "en": 'This step is not possible in state "{current}". {advice_en}',
    }


class LevelOutOfRange(ApiError):
    status, id = 400, "HG-ALR-002"
    messages = {
        "es": "El nivel de {type} va de {minimum} a {maximum}. Elija uno de ese rango.",
        "en": "The level of {type} goes from {minimum} to {maximum}. Choose one in that range.",
    }


class LevelNotHigher(ApiError):
    status, id = 409, "HG-ALR-003"
    messages = {
        "es": "La alarma ya tiene el nivel {current}. Para escalar indique uno mayor, o ninguno para avisar otra vez.",
        "en": "The alert already has level {current}. To escalate give a higher one, or none to page again.",
    }


class ShelvedTooLong(ApiError):
    status, id = 400, "HG-ALR-004"
    messages = {
        "es": "La política permite aplazar {maximum} minutos como máximo. Elija un plazo menor.",
        "en": "The policy allows shelving for at most {maximum} minutes. Choose a shorter time.",
    }
