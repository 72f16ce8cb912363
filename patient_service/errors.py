"""Errors of the patient service."""

from common.errors import ApiError


class BirthdateInFuture(ApiError):
    status, id = 400, "HG-PAT-001"
    messages = {
        "es": "La fecha de nacimiento no puede estar en el futuro. Corríjala.",
        "en": "The date of birth cannot be in the future. Correct it.",
    }
