"""The secrets of the containers: one file each, written from `.env`, so that each container gets only its own.

The folder is its owner's alone; the files in it may be read by anybody who gets to them, which inside a container is
the user that its one process runs as.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from common.config import SERVICES
from ops.native.servers.redis import REDIS_BOUNDS
from ops.native.settings import ROOT, SettingsError

FOLDER_MODE, FILE_MODE = 0o700, 0o444
KEPT = ("influxdb_password", "influxdb_token", "grafana_password", "metrics_token")  # made here when `.env` names none


def folder() -> Path:
    """`HEARTGUARD_SECRETS`, else .secrets at the root of the checkout; the compose file looks there too."""
    return Path(os.environ.get("HEARTGUARD_SECRETS", ROOT / ".secrets")).absolute()


def contents(variables: Mapping[str, str]) -> dict[str, str]:
    """What each file holds; `KEPT` ones that `.env` does not name are left out."""
    found = {f"{name}_database_password": variables[f"{name.upper()}_DATABASE_PASSWORD"] for name in SERVICES}
    # Known beside it while `python -m ops.rotate` changes the role's password, else empty.
    found |= {f"{name}_next": variables.get(f"{name.upper()}_NEXT", "") for name in list(found)}
    for name in ("postgres_password", "migrations_database_password", "redis_password"):
        found[name] = variables[name.upper()]
    for name in ("jwt_signing_keys", "internal_signing_keys", "auth_secret_keys", "audit_signing_key"):
        found[name] = variables[name.upper()]
    redis, rabbitmq = variables["REDIS_PASSWORD"], variables["RABBITMQ_PASSWORD"]
    found |= {
        "smtp_password": variables.get("SMTP_PASSWORD", ""),
        "gcp_service_account": _key_file(variables),
        "redis_url": f"redis://:{redis}@redis:6379/0",
        "rabbitmq_url": f"amqp://heartguard:{rabbitmq}@rabbitmq:5672/%2F",
        "rabbitmq.conf": f"default_user = heartguard\ndefault_pass = {rabbitmq}\n",
        "redis.conf": f"requirepass {redis}\n{REDIS_BOUNDS}dir /data\n",
    }
    return found | {name: variables[name.upper()] for name in KEPT if name.upper() in variables}


def _key_file(variables: Mapping[str, str]) -> str:
    path = variables.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not path:
        return ""
    try:
        if os.stat(path).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SettingsError(f"GOOGLE_APPLICATION_CREDENTIALS: others may read {path}: chmod 600 {path}")
        return Path(path).read_text()
    except OSError as error:
        raise SettingsError(f"GOOGLE_APPLICATION_CREDENTIALS: {path} cannot be read: {error.strerror}") from error


def write(variables: Mapping[str, str]) -> set[str]:
    """Write what is missing or changed; returns the names of the changed files.

    Raises SettingsError when others may look into the folder. A file keeps its inode, so that running containers,
    which have it mounted, see the new content.
    """
    place = folder()
    place.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    if place.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"{place}: others may look into it: chmod 700 {place}")
    wanted = contents(variables)
    for name in KEPT:
        if name not in wanted and not (place / name).exists():
            wanted[name] = secrets.token_urlsafe(32)
    changed = set()
    for name, text in wanted.items():
        path = place / name
        if path.exists() and path.read_text() == text:
            continue
        if path.exists():
            path.chmod(0o600)
        path.write_text(text)
        path.chmod(FILE_MODE)
        changed.add(name)
    return changed
