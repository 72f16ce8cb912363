"""The gateway's settings. Times are seconds, sizes bytes, limits requests a minute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from environs import ValidationError, validate

from common.config import ROOT, Settings, setting

RATE_CLASSES = ("read", "write", "ingest", "ack", "login")
_POSITIVE = validate.Range(min=0.0, min_inclusive=False)


_IP = {"read": 6000, "write": 2400, "ingest": 12_000, "ack": 2400, "login": 60}
_USER = {"read": 1200, "write": 300, "ingest": 2400, "ack": 600, "login": 30}


def _limits(variable: str, defaults: dict[str, int]) -> Any:
    """`read=600,login=30` in the environment; a class that is not named keeps its default."""
    known = validate.ContainsOnly(RATE_CLASSES, error=f"The classes are {', '.join(RATE_CLASSES)}.")

    def positive(limits: dict[str, int]) -> None:
        if min(limits.values(), default=1) < 1:
            raise ValidationError("A limit is at least 1.")

    return setting(variable, defaults, kind="dict", subcast_values=int, validate=[known, positive])


@dataclass(frozen=True, kw_only=True)
class GatewaySettings(Settings):
    """What the gateway needs besides the shared settings."""

    workers: int = setting("GATEWAY_WORKERS", 1, kind="int", validate=validate.Range(1, 64))
    threads: int = setting("GATEWAY_THREADS", 64, kind="int", validate=validate.Range(4, 512))
    routes_file: str = setting("GATEWAY_ROUTES_FILE", str(ROOT / "gateway" / "routes.json"))
    cors_allowed_origins: list[str] = setting("CORS_ALLOWED_ORIGINS", [], kind="list")
    trusted_proxy_hops: int = setting("TRUSTED_PROXY_HOPS", 0, kind="int", validate=validate.Range(0, 1))
    metrics_token: str | None = setting("METRICS_TOKEN", None)

    # The burst is one minute's worth. An address may be a whole hospital behind NAT: several users' worth.
    rate_limits_ip: dict[str, int] = _limits("RATE_LIMITS_IP", _IP)
    rate_limits_user: dict[str, int] = _limits("RATE_LIMITS_USER", _USER)

    connect_timeout: float = setting("GATEWAY_CONNECT_TIMEOUT", 0.3, kind="float", validate=_POSITIVE)
    read_timeout: float = setting("GATEWAY_READ_TIMEOUT", 2.0, kind="float", validate=_POSITIVE)
    request_timeout: float = setting("GATEWAY_REQUEST_TIMEOUT", 2.5, kind="float", validate=_POSITIVE)
    stream_timeout: float = setting("GATEWAY_STREAM_TIMEOUT", 300.0, kind="float", validate=_POSITIVE)
    stall_timeout: int = setting("GATEWAY_STALL_TIMEOUT", 15, kind="int", validate=validate.Range(1, 600))
    breaker_failures: int = setting("GATEWAY_BREAKER_FAILURES", 5, kind="int", validate=validate.Range(1))
    breaker_pause: float = setting("GATEWAY_BREAKER_PAUSE", 10.0, kind="float", validate=_POSITIVE)

    @classmethod
    def load(cls, service: str) -> Self:
        """Read the settings and complete the limits."""
        settings = super().load(service)
        return replace(
            settings,
            rate_limits_ip=_IP | settings.rate_limits_ip,
            rate_limits_user=_USER | settings.rate_limits_user,
        )
