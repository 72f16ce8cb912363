"""Errors of the device service."""

from common.errors import ApiError


class DeviceInactive(ApiError):
    status, id = 409, "HG-DEV-001"
    messages = {
        "es": "El dispositivo está inactivo. Actívelo antes de usarlo.",
        "en": "The device is inactive. Activate it before using it.",
    }


class DeviceNotAssigned(ApiError):
    status, id = 409, "HG-DEV-002"
    messages = {
        "es": "El dispositivo no está asignado a ese paciente en ese momento. Asígnelo primero.",
        "en": "The device is not assigned to that patient at that time. Assign it first.",
    }


class StreamHasEnded(ApiError):
    status, id = 409, "HG-DEV-003"
    messages = {
        "es": "La señal ya terminó. Abra una nueva.",
        "en": "The stream has ended. Open a new one.",
    }


class AssignmentOverlaps(ApiError):
    status, id = 409, "HG-DEV-004"
    messages = {
        "es": "El dispositivo ya está asignado en ese intervalo. Termine antes la otra asignación.",
        "en": "The device is already assigned in that interval. End the other assignment first.",
    }


class UnknownPatient(ApiError):
    status, id = 400, "HG-DEV-005"
    messages = {
        "es": "El paciente no existe o no está a su alcance. Compruebe el identificador.",
        "en": "The patient does not exist or is out of your reach. Check the id.",
    }


class SignalNotOffered(ApiError):
    status, id = 400, "HG-DEV-006"
    messages = {
        "es": "Este tipo de dispositivo no mide {signal}.",
        "en": "This type of device does not measure {signal}.",
    }


class SharedDeviceType(ApiError):
    status, id = 403, "HG-DEV-007"
    messages = {
        "es": "Este tipo de dispositivo es común a todas las organizaciones y no se puede cambiar. Cree uno propio.",
        "en": "This device type is shared by all organisations and cannot be changed. Create your own.",
    }


class UnknownDeviceType(ApiError):
    status, id = 400, "HG-DEV-008"
    messages = {
        "es": "No existe ese tipo de dispositivo. Consulte /device-types.",
        "en": "There is no such device type. See /device-types.",
    }


class TimesOutOfOrder(ApiError):
    status, id = 400, "HG-DEV-009"
    messages = {
        "es": "El final debe ser posterior al comienzo.",
        "en": "The end must be after the start.",
    }
