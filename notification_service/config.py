"""Settings of the notification service."""

from dataclasses import dataclass

from environs import validate

from common.config import ServiceSettings, setting


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """The mail server, and what e-mails say and to whom when nobody else can be found."""

    smtp_host: str = setting("SMTP_HOST")
    smtp_port: int = setting("SMTP_PORT", 25, kind="int", validate=validate.Range(1, 65535))
    smtp_from: str = setting("SMTP_FROM", validate=validate.Regexp(r"[^@\s<>]+@[^@\s<>]+\Z"))
    smtp_username: str | None = setting("SMTP_USERNAME", None)
    smtp_password: str | None = setting("SMTP_PASSWORD", None)
    smtp_starttls: bool = setting("SMTP_STARTTLS", False, kind="bool")
    public_url: str = setting("PUBLIC_URL", "http://127.0.0.1:5000", validate=validate.Regexp(r"https?://\S+\Z"))
    password_reset_url: str | None = setting("PASSWORD_RESET_URL", None)
    invitation_url: str | None = setting("INVITATION_URL", None)
    alarm_fallback_email: str | None = setting("ALARM_FALLBACK_EMAIL", None)
    delivery_lease_s: float = setting("DELIVERY_LEASE_S", 30.0, kind="float", validate=validate.Range(0.5, 600))
