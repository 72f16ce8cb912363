"""What e-mails say, in Spanish and English.

About an alarm: what, when, whose id, and what to do next; no name and no clinical value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Any

from notification_service.config import Settings
from notification_service.models import AccountMail, AlertDelivery, NotificationRequest

_ADDRESS = re.compile(r"[^@\s<>()\[\]\\,;:\"\x00-\x1f\x7f]+@[^@\s<>()\\,;:\"\x00-\x1f\x7f]+")


class BadAddress(Exception):
    """No e-mail can be sent to this address."""


@dataclass(frozen=True)
class _Words:
    subject: str
    levels: dict[str, str]
    types: dict[str, str]
    what: str
    when: str
    patient: str
    steps: tuple[str, ...]
    open: str
    notice: str


_WORDS = {
    "es": _Words(
        subject="[HeartGuard] Alarma {level}: {type}",
        levels={"low": "BAJA", "medium": "MEDIA", "high": "ALTA", "critical": "CRÍTICA"},
        types={
            "GENERAL_RISK": "riesgo general",
            "ARRHYTHMIA": "arritmia",
            "DESAT": "desaturación de oxígeno",
            "HYPERTENSION": "hipertensión",
            "HYPOTENSION": "hipotensión",
            "FEVER": "fiebre",
            "HYPOTHERMIA": "hipotermia",
            "SIGNAL_LOST": "señal perdida",
        },
        what="Alarma",
        when="Observada",
        patient="Paciente",
        steps=(
            "Compruebe el estado del paciente según el protocolo de su centro.",
            "Abra la alarma y confírmela, para que no se avise a más personas.",
            "Si hay riesgo vital, avise ya al servicio de emergencias.",
        ),
        open="Abrir la alarma",
        notice="HeartGuard ayuda a decidir; no es un producto sanitario certificado y no sustituye la vigilancia.",
    ),
    "en": _Words(
        subject="[HeartGuard] {level} alarm: {type}",
        levels={"low": "LOW", "medium": "MEDIUM", "high": "HIGH", "critical": "CRITICAL"},
        types={
            "GENERAL_RISK": "general risk",
            "ARRHYTHMIA": "arrhythmia",
            "DESAT": "oxygen desaturation",
            "HYPERTENSION": "hypertension",
            "HYPOTENSION": "hypotension",
            "FEVER": "fever",
            "HYPOTHERMIA": "hypothermia",
            "SIGNAL_LOST": "signal lost",
        },
        what="Alarm",
        when="Observed",
        patient="Patient",
        steps=(
            "Check on the patient as your centre's protocol says.",
            "Open the alarm and acknowledge it, so that no more people are paged.",
            "If life is at risk, call the emergency service now.",
        ),
        open="Open the alarm",
        notice="HeartGuard supports decisions; it is no certified medical device and does not replace clinical watch.",
    ),
}


_ACCOUNT_WORDS = {
    "es": {
        "password_reset": (
            "[HeartGuard] Restablecer la contraseña",
            (
                "Alguien pidió restablecer la contraseña de su cuenta.",
                "Si no fue usted, no haga nada: su contraseña sigue siendo la misma.",
            ),
            "Para elegir otra, use este código, que caduca pronto y vale una sola vez:",
        ),
        "password_changed": (
            "[HeartGuard] Su contraseña ha cambiado",
            (
                "La contraseña de su cuenta ha cambiado y se cerraron las demás sesiones.",
                "Si no fue usted, restablézcala ahora y avise al administrador de su organización.",
            ),
            "",
        ),
        "invitation": (
            "[HeartGuard] {organization} le invita",
            (
                "{organization} le invita a trabajar con HeartGuard.",
                "Para aceptar, entre en su cuenta o cree una. Si no esperaba esta invitación, no haga nada.",
            ),
            "Use este código, que caduca y vale una sola vez:",
        ),
    },
    "en": {
        "password_reset": (
            "[HeartGuard] Reset the password",
            (
                "Somebody asked to reset your account's password.",
                "If it was not you, do nothing: your password stays as it is.",
            ),
            "To choose another, use this code, which expires soon and works once:",
        ),
        "password_changed": (
            "[HeartGuard] Your password was changed",
            (
                "Your account's password was changed, and its other sessions were ended.",
                "If it was not you, reset it now and tell your organisation's administrator.",
            ),
            "",
        ),
        "invitation": (
            "[HeartGuard] {organization} invites you",
            (
                "{organization} invites you to work with HeartGuard.",
                "To accept, log in to your account or make one. If you did not expect this invitation, do nothing.",
            ),
            "Use this code, which expires and works once:",
        ),
    },
}


def write_letter(settings: Settings, request: NotificationRequest, delivery: AlertDelivery) -> EmailMessage:
    """The e-mail of a delivery, the same each time it is written; raises BadAddress."""
    words = _WORDS[delivery.language]
    level = words.levels[request.level]
    kind = words.types.get(request.alert_type, request.alert_type)
    subject = words.subject.format(level=level, type=kind)
    link = f"{settings.public_url.rstrip('/')}/alerts/{request.alert_id}"
    facts = {
        words.what: f"{kind} ({level})",
        words.when: f"{request.observed_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        words.patient: str(request.patient_id),
    }
    message = _message(settings, delivery, delivery.address, subject, delivery.language)
    message["Importance"] = "high"
    message.set_content(_plain(words, facts, link))
    message.add_alternative(_html(words, delivery.language, subject, facts, link), subtype="html")
    return message


def write_account_letter(settings: Settings, letter: AccountMail, content: dict[str, Any]) -> EmailMessage:
    """The e-mail about an account that its author's `content` asks for; raises BadAddress."""
    subject, lines, code = _ACCOUNT_WORDS[content["language"]][content["kind"]]
    name = " ".join(content.get("organization", "").split())  # a line break would begin another header
    subject = subject.format(organization=name)
    message = _message(settings, letter, content["email"], subject, content["language"])
    paragraphs = [line.format(organization=name) for line in lines]
    if content["token"] is not None:
        # After `#`, so that no web server on the way writes the token into a log.
        page = settings.invitation_url if content["kind"] == "invitation" else settings.password_reset_url
        where = f"{page}#token=" if page else ""
        paragraphs.insert(1, f"{code}\n{where}{content['token']}")
    message.set_content("\n\n".join(paragraphs) + "\n")
    return message


def _message(
    settings: Settings, item: AlertDelivery | AccountMail, address: str | None, subject: str, language: str
) -> EmailMessage:
    if address is None or not _ADDRESS.fullmatch(address):
        raise BadAddress
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = settings.smtp_from
    message["To"] = address
    message["Date"] = format_datetime(item.created_at)
    # The same for every attempt: a mail server or reader that got it twice shows it once.
    message["Message-ID"] = f"<{item.id}@{settings.smtp_from.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message["Content-Language"] = language
    return message


def _plain(words: _Words, facts: dict[str, str], link: str) -> str:
    lines = [f"{name}: {value}" for name, value in facts.items()]
    steps = [f"{number}. {step}" for number, step in enumerate(words.steps, 1)]
    return "\n".join([*lines, "", *steps, "", f"{words.open}: {link}", "", words.notice, ""])


def _html(words: _Words, language: str, subject: str, facts: dict[str, str], link: str) -> str:
    rows = "".join(f"<dt><strong>{escape(name)}</strong></dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    steps = "".join(f"<li>{escape(step)}</li>" for step in words.steps)
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n'
        f'<head><meta charset="utf-8"><title>{escape(subject)}</title></head>\n'
        '<body style="font-family:sans-serif;font-size:16px;line-height:1.5;color:#1a1a1a;background-color:#ffffff">\n'
        f"<h1>{escape(subject)}</h1>\n<dl>{rows}</dl>\n<ol>{steps}</ol>\n"
        f'<p><a href="{escape(link)}">{escape(words.open)}</a></p>\n'
        f"<p><small>{escape(words.notice)}</small></p>\n</body></html>\n"
    )
