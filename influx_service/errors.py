"""Errors of the time-series service, and how an engine's become ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import ApiError, Unavailable
from influx_service.stores import InvalidData, QueryTooLarge, StoreUnavailable


class InvalidSamples(ApiError):
    status, id = 400, "HG-TSR-001"
    messages = {
        "es": "Las muestras no se pueden guardar o consultar así. Revise valores, tiempos y límites.",
        "en": "The samples cannot be kept or queried like this. Check values, times and limits.",
    }


class StreamNotBound(ApiError):
    status, id = 409, "HG-TSR-002"
    messages = {
        "es": "La señal no tiene destino. Créelo en /streams/{stream_id}/bindings.",
        "en": "The stream has no place for its samples. Create one at /streams/{stream_id}/bindings.",
    }


class WindowTooLarge(ApiError):
    status, id = 400, "HG-TSR-003"
    messages = {
        "es": "La ventana es demasiado grande. Acórtela o pida valores agregados.",
        "en": "The window is too large. Shorten it or ask for aggregates.",
    }


class OutsideStream(ApiError):
    status, id = 409, "HG-TSR-004"
    messages = {
        "es": "Las muestras caen fuera de la señal ({begins} – {ends}). Use la señal vigente en ese momento.",
        "en": "The samples fall outside the stream ({begins} – {ends}). Use the stream of that time.",
    }


class SamplesInFuture(ApiError):
    status, id = 400, "HG-TSR-005"
    messages = {
        "es": "Las muestras están en el futuro. Ajuste el reloj del dispositivo.",
        "en": "The samples are in the future. Set the device's clock.",
    }


class BucketInUse(ApiError):
    status, id = 409, "HG-TSR-006"
    messages = {
        "es": "El contenedor recibe señales abiertas. Termínelas antes de borrarlo.",
        "en": "The bucket takes the samples of open streams. End them before deleting it.",
    }


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what an engine raises into answers: 503, 400."""
    try:
        yield
    except StoreUnavailable as error:
        raise Unavailable from error
    except QueryTooLarge as error:
        raise WindowTooLarge from error
    except InvalidData as error:
        raise InvalidSamples from error
