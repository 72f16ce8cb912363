"""What `.env` means for containers: checked, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from dotenv import dotenv_values

from ops.native import settings
from ops.native.applications import reachable
from ops.native.console import say
from ops.native.servers.base import LOOPBACK
from ops.native.settings import SettingsError

NATIVE_ONLY = ("DATABASE_HOST", "REDIS_URL", "RABBITMQ_URL")


def checked_variables() -> dict[str, str]:
    """What `.env` says, made first if missing; raises SettingsError naming every bad variable."""
    path = settings.env_file()
    if settings.make_env(path):
        say(f"Made {path} with fresh secrets.")
    variables = settings.read_variables(path)
    problems = settings.problems_of(variables)
    problems += [
        f"{name}: only for the native runtime; containers have their own" for name in NATIVE_ONLY if name in variables
    ]
    if "GCS_BUCKET" in variables and "GCS_ENDPOINT" not in dotenv_values(path):
        problems.append(
            "GCS_ENDPOINT: write it empty (GCS_ENDPOINT=) beside GCS_BUCKET, or containers use the local store"
        )
    if variables.get("JWT_ALGORITHM", "HS256") != "HS256":
        problems.append("JWT_ALGORITHM: only HS256 in containers; key pairs are for the native runtime so far")
    if problems:
        raise SettingsError("\n".join(f"{path.name}: {problem}" for problem in problems))
    return variables


def profiles_of(variables: Mapping[str, str], chosen: list[str]) -> list[str]:
    """The chosen profiles and those that the settings ask for."""
    found = [*chosen, *filter(None, variables.get("COMPOSE_PROFILES", "").split(","))]
    if "SMTP_HOST" not in variables or "GCS_BUCKET" not in variables:
        found.append("local")
    if urlsplit(variables.get("INFLUXDB_URL", "")).hostname == "influxdb":
        found.append("influxdb")
    return found


def gateway_address(variables: Mapping[str, str]) -> tuple[str, int]:
    """Where this machine reaches the gateway."""
    return reachable(variables.get("GATEWAY_HOST", LOOPBACK)), int(variables.get("GATEWAY_PORT", 5000))
