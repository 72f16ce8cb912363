"""What the status page says, in both languages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """One language: texts by key, and how numbers are written."""

    language: str
    decimal: str
    texts: dict[str, str]

    def __getitem__(self, key: str) -> str:
        return self.texts[key]

    def service(self, name: str) -> str:
        """What a service is to its users."""
        return self.texts.get(f"service.{name}", name)

    def state(self, name: str) -> str:
        """A state in words, so that colour is never alone."""
        return self.texts[f"state.{name}"]

    def milliseconds(self, value: float) -> str:
        """`3,4 ms`."""
        return f"{value:.1f} ms".replace(".", self.decimal)

    def seconds(self, value: float) -> str:
        """A delay in the largest unit that says enough: `0 s`, `4 min`, `3 h`."""
        for least, seconds, unit in ((48 * 3600, 86_400, "d"), (2 * 3600, 3600, "h"), (120, 60, "min")):
            if value >= least:
                return f"{value / seconds:.0f} {unit}"
        return f"{value:.0f} s"


_ES = {
    "title": "Estado del sistema",
    "all_up": "Todos los servicios funcionan",
    "some_down": "Hay servicios que requieren atención",
    "services": "Servicios en marcha",
    "waiting": "Mensajes en espera",
    "delay": "Mayor retraso",
    "dead": "Mensajes apartados",
    "updated": "Actualizado a las",
    "utc": "UTC",
    "refreshes": "Se actualiza cada 5 segundos.",
    "stale": "Sin respuesta de la puerta de enlace. Los datos pueden ser antiguos; compruebe su conexión.",
    "other": "en",
    "other_language": "English",
    "docs": "Documentación de la API",
    "json": "Estos datos en JSON o XML",
    "answer_time": "Respuesta",
    "dependencies": "Depende de",
    "no_dependencies": "sin respuesta",
    "queues": "Colas de mensajes",
    "queue": "Cola",
    "outbox": "por publicar",
    "outbox_delay": "retraso",
    "queue_delay": "Retraso",
    "retrying": "Reintentos",
    "dead_short": "Apartados",
    "waiting_short": "En espera",
    "unknown": "Su proceso de trabajo no informa desde hace más de 30 segundos.",
    "no_queues": "No escucha ninguna cola.",
    "state.up": "Funciona",
    "state.degraded": "Degradado",
    "state.down": "Caído",
    "service.gateway": "Puerta de enlace",
    "service.auth": "Acceso",
    "service.organization": "Organizaciones",
    "service.user": "Usuarios",
    "service.patient": "Pacientes",
    "service.device": "Dispositivos",
    "service.influx": "Series temporales",
    "service.inference": "Inferencia",
    "service.alert": "Alarmas",
    "service.notification": "Avisos",
    "service.media": "Archivos",
    "service.audit": "Auditoría",
}
_EN = {
    "title": "System status",
    "all_up": "All services are up",
    "some_down": "Some services need attention",
    "services": "Services up",
    "waiting": "Messages waiting",
    "delay": "Longest delay",
    "dead": "Messages put aside",
    "updated": "Updated at",
    "utc": "UTC",
    "refreshes": "Refreshes every 5 seconds.",
    "stale": "The gateway does not answer. These facts may be old; check your connection.",
    "other": "es",
    "other_language": "Español",
    "docs": "API documentation",
    "json": "These facts in JSON or XML",
    "answer_time": "Answers in",
    "dependencies": "Depends on",
    "no_dependencies": "no answer",
    "queues": "Message queues",
    "queue": "Queue",
    "outbox": "to publish",
    "outbox_delay": "delay",
    "queue_delay": "Delay",
    "retrying": "Retrying",
    "dead_short": "Put aside",
    "waiting_short": "Waiting",
    "unknown": "Its worker has not reported for more than 30 seconds.",
    "no_queues": "It listens to no queue.",
    "state.up": "Up",
    "state.degraded": "Degraded",
    "state.down": "Down",
    "service.gateway": "Gateway",
    "service.auth": "Access",
    "service.organization": "Organisations",
    "service.user": "Users",
    "service.patient": "Patients",
    "service.device": "Devices",
    "service.influx": "Time series",
    "service.inference": "Inference",
    "service.alert": "Alerts",
    "service.notification": "Notifications",
    "service.media": "Files",
    "service.audit": "Audit",
}
WORDING = {"es": Words("es", ",", _ES), "en": Words("en", ".", _EN)}
