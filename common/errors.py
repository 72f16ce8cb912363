"""The errors of the contract: an id, a status, and what the user can do about it in two languages."""

from __future__ import annotations

from typing import Any, ClassVar

LANGUAGES = ("es", "en")


class ApiError(Exception):
    """An answer other than success. Subclasses fix `status`, `id` and `messages`; `parameters` fill the message."""

    status: ClassVar[int] = 500
    id: ClassVar[str] = "HG-SRV-001"
    messages: ClassVar[dict[str, str]] = {
        "es": "Error interno. Vuelva a intentarlo; si persiste, comunique el identificador de la petición.",
        "en": "Internal error. Try again; if it persists, report the request id.",
    }
    registry: ClassVar[list[type[ApiError]]] = []

    def __init__(
        self,
        *,
        details: list[dict[str, str]] | None = None,
        headers: dict[str, str] | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__(self.id)
        self.details = details or []
        self.headers = headers or {}
        self.parameters = parameters

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        ApiError.registry.append(cls)

    def message(self, language: str) -> str:
        """The message in `es` or `en`."""
        return self.messages[language].format(**self.parameters)


InternalError = ApiError


class ValidationFailed(ApiError):
    status, id = 400, "HG-VAL-001"
    messages = {
        "es": "Datos inválidos. Corrija los campos indicados.",
        "en": "Invalid data. Correct the fields listed.",
    }


class UnparsableBody(ApiError):
    status, id = 400, "HG-VAL-002"
    messages = {
        "es": "El cuerpo no se puede leer. Envíe JSON o XML bien formado, dentro de los límites.",
        "en": "The body cannot be read. Send well-formed JSON or XML within the limits.",
    }


class InvalidToken(ApiError):
    status, id = 401, "HG-AUTH-001"
    messages = {"es": "Falta un token válido. Inicie sesión.", "en": "A valid token is missing. Log in."}

    def __init__(self, **keywords: Any) -> None:
        super().__init__(headers={"WWW-Authenticate": 'Bearer realm="heartguard"'}, **keywords)


class ExpiredToken(InvalidToken):
    id = "HG-AUTH-002"
    messages = {"es": "La sesión ha caducado. Renueve el token.", "en": "The session has expired. Refresh the token."}


class SecondFactorDemanded(ApiError):
    status, id = 403, "HG-AUTH-013"
    messages = {
        "es": "Su organización exige un segundo factor. Actívelo en /auth/totp/enrol y vuelva a entrar.",
        "en": "Your organisation demands a second factor. Enrol at /auth/totp/enrol and log in again.",
    }


class Forbidden(ApiError):
    status, id = 403, "HG-PERM-001"
    messages = {
        "es": "No tiene permiso para esta operación. Pídalo al administrador de su organización.",
        "en": "You lack the permission for this operation. Ask your organisation's administrator.",
    }


class NotFound(ApiError):
    status, id = 404, "HG-NF-001"
    messages = {"es": "No existe o no está a su alcance.", "en": "It does not exist or is out of your reach."}


class MethodNotAllowed(ApiError):
    status, id = 405, "HG-MTD-001"
    messages = {"es": "Método no permitido en esta ruta.", "en": "Method not allowed on this path."}


class NotAcceptable(ApiError):
    status, id = 406, "HG-ACC-001"
    messages = {
        "es": "Formato no disponible. Pida application/json o application/xml.",
        "en": "Format not available. Ask for application/json or application/xml.",
    }


class Conflict(ApiError):
    status, id = 409, "HG-CONF-001"
    messages = {
        "es": "Choca con lo que ya existe. Consulte el estado actual y vuelva a intentarlo.",
        "en": "It conflicts with what exists. Read the current state and try again.",
    }


class PreconditionFailed(ApiError):
    status, id = 412, "HG-PRE-001"
    messages = {
        "es": "El recurso cambió desde que lo leyó. Léalo otra vez y repita el cambio.",
        "en": "The resource changed since you read it. Read it again and repeat the change.",
    }


class PayloadTooLarge(ApiError):
    status, id = 413, "HG-SIZE-001"
    messages = {
        "es": "El cuerpo es demasiado grande o no declara su tamaño. Envíe menos datos, con Content-Length.",
        "en": "The body is too large or does not declare its size. Send less data, with Content-Length.",
    }


class UnsupportedMediaType(ApiError):
    status, id = 415, "HG-TYPE-001"
    messages = {
        "es": "Tipo de contenido no admitido. Envíe application/json o application/xml.",
        "en": "Unsupported content type. Send application/json or application/xml.",
    }


class RateLimited(ApiError):
    status, id = 429, "HG-RATE-001"
    messages = {
        "es": "Demasiadas peticiones. Espere el tiempo indicado en Retry-After.",
        "en": "Too many requests. Wait for the time given in Retry-After.",
    }

    def __init__(self, retry_after: int = 1, **keywords: Any) -> None:
        super().__init__(headers={"Retry-After": str(retry_after), **keywords.pop("headers", {})}, **keywords)


class BadUpstream(ApiError):
    status, id = 502, "HG-GW-001"
    messages = {
        "es": "Un servicio respondió mal. Vuelva a intentarlo en unos segundos.",
        "en": "A service answered badly. Try again in a few seconds.",
    }


class Unavailable(ApiError):
    status, id = 503, "HG-SRV-002"
    messages = {
        "es": "Servicio no disponible por ahora. Espere el tiempo indicado en Retry-After.",
        "en": "Service unavailable for now. Wait for the time given in Retry-After.",
    }

    def __init__(self, retry_after: int = 1, **keywords: Any) -> None:
        super().__init__(headers={"Retry-After": str(retry_after), **keywords.pop("headers", {})}, **keywords)


class UpstreamTimeout(ApiError):
    status, id = 504, "HG-GW-002"
    messages = {
        "es": "Un servicio tarda demasiado. Vuelva a intentarlo en unos segundos.",
        "en": "A service takes too long. Try again in a few seconds.",
    }


BY_STATUS: dict[int, type[ApiError]] = {
    400: UnparsableBody,
    404: NotFound,
    405: MethodNotAllowed,
    406: NotAcceptable,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
}
"""What Werkzeug raises by itself, said in our words."""

ISSUES: dict[str, dict[str, str]] = {
    "awareness": {"es": "zona horaria requerida", "en": "time zone required"},
    "characters": {"es": "caracteres no permitidos", "en": "characters not allowed"},
    "choice": {"es": "valor no admitido", "en": "value not allowed"},
    "format": {"es": "formato", "en": "format"},
    "length": {"es": "longitud", "en": "length"},
    "null": {"es": "no puede ser nulo", "en": "must not be null"},
    "order": {"es": "orden incorrecto", "en": "wrong order"},
    "range": {"es": "fuera de rango", "en": "out of range"},
    "required": {"es": "requerido", "en": "required"},
    "type": {"es": "tipo", "en": "type"},
    "unknown": {"es": "campo desconocido", "en": "unknown field"},
    "weak": {"es": "demasiado débil o filtrada", "en": "too weak or leaked"},
}
"""What can be wrong with a field; `details[].issue` carries the text in the reader's language."""


def issue_text(issue: str, language: str) -> str:
    """The words for an issue key; an issue without an entry is a mistake of ours, shown as it is."""
    return ISSUES.get(issue, {}).get(language, issue)
