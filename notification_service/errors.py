"""Errors of the notification service."""

from common.errors import ApiError


class NothingToRetry(ApiError):
    status, id = 409, "HG-NOT-001"
    messages = {
        "es": "Solo se reintenta una entrega fallida; esta está en «{current}». Consulte sus eventos.",
        "en": 'Only a failed delivery can be retried; this one is "{current}". Look at its events.',
    }


class NobodyToReach(ApiError):
    status, id = 409, "HG-NOT-002"
    messages = {
        "es": "Esta entrega no tuvo destinatario. Asigne un equipo con correo al paciente y escale la alarma.",
        "en": "This delivery had no recipient. Give the patient a team with e-mail addresses and escalate the alert.",
    }
