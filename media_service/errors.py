"""Errors of the media service."""

from common.errors import ApiError


class NotUploaded(ApiError):
    status, id = 409, "HG-MED-001"
    messages = {
        "es": "El fichero no ha llegado. Súbalo con PUT a la dirección firmada y vuelva a completar.",
        "en": "The file has not arrived. PUT it to the signed address and complete again.",
    }


class NotAsAnnounced(ApiError):
    status, id = 409, "HG-MED-002"
    messages = {
        "es": "El fichero no es el anunciado en tamaño o tipo y se ha descartado. Anúncielo de nuevo.",
        "en": "The file is not what was announced in size or type and was discarded. Announce it anew.",
    }


class NoStore(ApiError):
    status, id = 503, "HG-MED-003"
    messages = {
        "es": "No hay almacén de ficheros configurado. Quien opera el sistema debe indicar GCS_BUCKET.",
        "en": "No file store is configured. The operator has to set GCS_BUCKET.",
    }


class TooLarge(ApiError):
    status, id = 413, "HG-MED-004"
    messages = {
        "es": "El fichero supera el máximo de {max_bytes} bytes. Divídalo o comprímalo.",
        "en": "The file is over the maximum of {max_bytes} bytes. Split or compress it.",
    }
