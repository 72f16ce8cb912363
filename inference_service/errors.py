"""Errors of the inference service."""

from common.errors import ApiError


class BuiltInIsFixed(ApiError):
    status, id = 409, "HG-INF-001"
    messages = {
        "es": "Los modelos y eventos incorporados no se modifican. Cree los de su organización.",
        "en": "Built-in models and events cannot be changed. Create your organisation's own.",
    }


class VersionIsFixed(ApiError):
    status, id = 409, "HG-INF-002"
    messages = {
        "es": "Una versión validada no se modifica ni se borra. Publique otra versión.",
        "en": "A validated version can be neither changed nor removed. Publish another version.",
    }


class RuntimeUnavailable(ApiError):
    status, id = 409, "HG-INF-003"
    messages = {
        "es": "Esta versión no se puede ejecutar aquí: solo las versiones incorporadas pasan a producción o sombra.",
        "en": "This version cannot run here: only built-in versions can go to production or shadow.",
    }


class NoSamples(ApiError):
    status, id = 409, "HG-INF-004"
    messages = {
        "es": "No hay muestras de esa señal en esa ventana. Elija otro momento.",
        "en": "There are no samples of that stream in that window. Choose another time.",
    }


class LevelsOutOfOrder(ApiError):
    status, id = 400, "HG-INF-005"
    messages = {
        "es": "El nivel por defecto debe estar entre el mínimo y el máximo.",
        "en": "The default level must lie between the minimum and the maximum.",
    }
