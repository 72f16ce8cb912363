"""Typed settings from the environment; a bad value stops the start with the variable's name."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Self

from dotenv import load_dotenv
from environs import EnvValidationError, FileAwareEnv, ValidationError, validate

ROOT = Path(__file__).resolve().parent.parent

SERVICE_PORTS = {
    "gateway": 5000,
    "auth": 5001,
    "organization": 5002,
    "user": 5003,
    "patient": 5004,
    "device": 5005,
    "influx": 5006,
    "inference": 5007,
    "alert": 5008,
    "notification": 5009,
    "media": 5010,
    "audit": 5011,
}
SERVICES = tuple(name for name in SERVICE_PORTS if name != "gateway")


def package_of(service: str) -> str:
    """The Python package of a service's short name: `patient` lives in `patient_service`."""
    return "gateway" if service == "gateway" else f"{service}_service"


def setting(variable: str, default: Any = MISSING, *, kind: str = "str", **options: Any) -> Any:
    """Declare a settings field read from `variable` (`{SERVICE}` in it is the service's name in capitals).

    `kind` names a reader of environs (str, int, float, bool, list); `options` go to that reader.
    """
    return field(metadata={"variable": variable, "default": default, "kind": kind, "options": options})


@dataclass(frozen=True, kw_only=True)
class TokenSettings:
    """What it takes to make and to check tokens."""

    service: str
    jwt_algorithm: str = setting("JWT_ALGORITHM", "HS256", validate=validate.OneOf(["HS256", "EdDSA", "RS256"]))
    jwt_issuer: str = setting("JWT_ISSUER", "heartguard")
    jwt_signing_keys: list[str] = setting("JWT_SIGNING_KEYS", kind="list")
    internal_signing_keys: list[str] = setting("INTERNAL_SIGNING_KEYS", kind="list")

    @classmethod
    def load(cls, service: str) -> Self:
        """Read every field from the environment and `.env`.

        Exits with status 78 (EX_CONFIG) and one line per missing or malformed variable.
        """
        load_dotenv(os.environ.get("HEARTGUARD_ENV_FILE", ROOT / ".env"), override=False, interpolate=False)
        env = FileAwareEnv(eager=False, strip_whitespace=True)
        values: dict[str, Any] = {"service": service}
        for item in fields(cls):
            if "variable" not in item.metadata:
                continue
            options = dict(item.metadata["options"])
            if item.metadata["default"] is not MISSING:
                options["default"] = item.metadata["default"]
            variable = item.metadata["variable"].replace("{SERVICE}", service.upper())
            values[item.name] = getattr(env, item.metadata["kind"])(variable, **options)
        try:
            env.seal()
        except EnvValidationError as error:
            assert isinstance(error.error_messages, Mapping)
            for variable, problems in error.error_messages.items():
                print(f"{service}: {variable}: {' '.join(problems)}", file=sys.stderr)
            raise SystemExit(78) from error
        return cls(**values)


def _check_networks(entries: list[str]) -> None:
    for entry in entries:
        try:
            ip_network(entry)
        except ValueError as error:
            raise ValidationError(f"{error}.") from error


@dataclass(frozen=True, kw_only=True)
class Settings(TokenSettings):
    """What every process of the suite needs to know."""

    environment: str = setting("HEARTGUARD_ENVIRONMENT", "production")
    log_level: str = setting("LOG_LEVEL", "INFO", validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"]))
    redis_url: str = setting("REDIS_URL", validate=validate.Regexp(r"rediss?://\S+"))
    max_content_length: int = setting("MAX_CONTENT_LENGTH", 1024 * 1024, kind="int", validate=validate.Range(1024))
    otlp_endpoint: str | None = setting("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    trusted_proxies: list[str] = setting("TRUSTED_PROXIES", ["127.0.0.1", "::1"], kind="list", validate=_check_networks)

    @cached_property
    def _trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(map(ip_network, self.trusted_proxies))

    def trusts(self, peer: str) -> bool:
        """True when this peer's `X-Forwarded-For` is believed; raises ValueError when it is no IP address."""
        address = ip_address(peer)
        return any(address in network for network in self._trusted_networks)

    def url_of(self, service: str) -> str:
        """The base address of another service, from `<SERVICE>_URL` or the local port."""
        port = os.environ.get(f"{service.upper()}_PORT", SERVICE_PORTS[service])
        return os.environ.get(f"{service.upper()}_URL", f"http://127.0.0.1:{port}").rstrip("/")


@dataclass(frozen=True, kw_only=True)
class ServiceSettings(Settings):
    """What a service with a schema and a worker needs besides."""

    database_host: str = setting("DATABASE_HOST", "127.0.0.1")
    database_port: int = setting("DATABASE_PORT", 5432, kind="int")
    database_name: str = setting("DATABASE_NAME", "heartguard")
    database_password: str = setting("{SERVICE}_DATABASE_PASSWORD")
    database_password_next: str | None = setting("{SERVICE}_DATABASE_PASSWORD_NEXT", None)
    database_pool: int = setting("DATABASE_POOL", 8, kind="int", validate=validate.Range(1, 64))
    rabbitmq_url: str = setting("RABBITMQ_URL", validate=validate.Regexp(r"amqps?://\S+"))
