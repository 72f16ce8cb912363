"""The gateway's settings. Times are seconds, sizes bytes, limits requests a minute."""

from __future__ import annotations

import re
from dataclasses import dataclass

from environs import ValidationError, validate

from common.config import ROOT, Settings, setting

# Requests a minute, which is also the burst. An address may be a whole hospital behind NAT: several users' worth.
ADDRESS_LIMITS = {"read": 6000, "write": 2400, "ingest": 12_000, "ack": 2400, "login": 60}
USER_LIMITS = {"read": 1200, "write": 300, "ingest": 2400, "ack": 600, "login": 30}

_LIMIT = re.compile(rf"({'|'.join(USER_LIMITS)})=([1-9][0-9]{{0,11}})", re.ASCII)
_POSITIVE = validate.Range(min=0.0, min_inclusive=False)


def _check_limits(entries: list[str]) -> None:
    if not all(map(_LIMIT.fullmatch, entries)):
        raise ValidationError(f"Entries are class=number; the classes are {', '.join(USER_LIMITS)}.")


def limits_of(entries: list[str], defaults: dict[str, int]) -> dict[str, int]:
    """`["login=30"]` and the defaults of the other classes."""
    return defaults | {match[1]: int(match[2]) for match in map(_LIMIT.fullmatch, entries) if match}


@dataclass(frozen=True, kw_only=True)
class GatewaySettings(Settings):
    """What the gateway needs besides the shared settings."""

    workers: int = setting("GATEWAY_WORKERS", 1, kind="int", validate=validate.Range(1, 64))
    threads: int = setting("GATEWAY_THREADS", 64, kind="int", validate=validate.Range(4, 512))
    routes_file: str = setting("GATEWAY_ROUTES_FILE", str(ROOT / "gateway" / "routes.json"))
    cors_allowed_origins: list[str] = setting("CORS_ALLOWED_ORIGINS", [], kind="list")
    trusted_proxy_hops: int = setting("TRUSTED_PROXY_HOPS", 0, kind="int", validate=validate.Range(0, 1))
    metrics_token: str | None = setting("METRICS_TOKEN", None)

    rate_limits_ip: list[str] = setting("RATE_LIMITS_IP", [], kind="list", validate=_check_limits)
    rate_limits_user: list[str] = setting("RATE_LIMITS_USER", [], kind="list", validate=_check_limits)

    connect_timeout: float = setting("GATEWAY_CONNECT_TIMEOUT", 0.3, kind="float", validate=_POSITIVE)
    read_timeout: float = setting("GATEWAY_READ_TIMEOUT", 2.0, kind="float", validate=_POSITIVE)
    request_timeout: float = setting("GATEWAY_REQUEST_TIMEOUT", 2.5, kind="float", validate=_POSITIVE)
    stream_timeout: float = setting("GATEWAY_STREAM_TIMEOUT", 300.0, kind="float", validate=_POSITIVE)
    stall_timeout: int = setting("GATEWAY_STALL_TIMEOUT", 15, kind="int", validate=validate.Range(1, 600))
    breaker_failures: int = setting("GATEWAY_BREAKER_FAILURES", 5, kind="int", validate=validate.Range(1))
    breaker_pause: float = setting("GATEWAY_BREAKER_PAUSE", 10.0, kind="float", validate=_POSITIVE)
