"""`.env` is made once with secrets of its own, and bad values stop the start by name."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from dotenv import dotenv_values

from ops.native import settings
from ops.native.applications import applications
from ops.native.settings import SettingsError, documented_names, load, make_env


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in documented_names() | settings.PORT_DEFAULTS.keys():
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def env(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    make_env(path)
    return path


def change(env: Path, name: str, value: str) -> None:
    lines = [line for line in env.read_text().splitlines() if not line.startswith(f"{name}=")]
    env.write_text("\n".join([*lines, f"{name}={value}"]) + "\n")


def test_every_secret_is_fresh_and_the_file_is_private(env: Path, tmp_path: Path) -> None:
    values = dotenv_values(env)
    secrets = [values[name] for name in settings.PASSWORDS]
    secrets += [str(values[name]).partition(":")[2] for name in settings.SIGNING_KEYS]
    assert len(set(secrets)) == len(secrets)
    assert all(len(str(secret)) >= 32 and "generate" not in str(secret) for secret in secrets)
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    other = tmp_path / "other"
    make_env(other)
    assert dotenv_values(other)["REDIS_PASSWORD"] != values["REDIS_PASSWORD"]


def test_an_existing_file_is_left_alone(env: Path) -> None:
    before = env.read_bytes()
    assert make_env(env) is False
    assert env.read_bytes() == before


def test_the_example_documents_every_port_and_password_once() -> None:
    names = re.findall(r"^#?([A-Z0-9_]+)=", settings.EXAMPLE.read_text(), re.MULTILINE)
    assert len(names) == len(set(names))
    assert settings.PORT_DEFAULTS.keys() | set(settings.PASSWORDS) <= documented_names()


def test_a_fresh_file_is_complete(env: Path, tmp_path: Path) -> None:
    runtime = load(env, tmp_path / "state")
    assert [server.name for server in runtime.servers] == ["postgresql", "redis", "epmd", "rabbitmq", "mail", "storage"]
    assert runtime.environment["REDIS_URL"].startswith("redis://:")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_PASSWORD", ""),
        ("PATIENT_DATABASE_PASSWORD", "short"),
        ("RABBITMQ_PASSWORD", "with a space and @ sign"),
        ("GATEWAY_PORT", "http"),
        ("AUTH_PORT", "70000"),
        ("REDIS_URL", "localhost:6379"),
        ("RABBITMQ_URL", "http://localhost"),
        ("JWT_SIGNING_KEYS", "k1:too-short"),
        ("INTERNAL_SIGNING_KEYS", "no-kid-and-much-longer-than-thirty-two-bytes"),
    ],
)
def test_a_bad_variable_is_named_and_its_value_is_not(env: Path, tmp_path: Path, name: str, value: str) -> None:
    change(env, name, value)
    with pytest.raises(SettingsError) as caught:
        load(env, tmp_path / "state")
    assert f"{name}:" in str(caught.value)
    assert not value or value not in str(caught.value)


def test_every_bad_variable_is_named_at_once(env: Path, tmp_path: Path) -> None:
    change(env, "REDIS_PASSWORD", "")
    change(env, "GATEWAY_PORT", "zero")
    with pytest.raises(SettingsError, match=r"(?s)REDIS_PASSWORD.*GATEWAY_PORT"):
        load(env, tmp_path / "state")


def test_two_services_on_one_port_are_refused(env: Path, tmp_path: Path) -> None:
    change(env, "AUTH_PORT", "5000")
    with pytest.raises(SettingsError, match="GATEWAY_PORT and AUTH_PORT are both 5000"):
        load(env, tmp_path / "state")


def test_the_callers_environment_overrules_the_file(env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATIENT_PORT", "18004")
    assert load(env, tmp_path / "state").port("patient") == 18004


def test_servers_that_the_file_names_are_used_instead_of_ours(env: Path, tmp_path: Path) -> None:
    change(env, "DATABASE_HOST", "db.example.org")
    change(env, "POSTGRES_PASSWORD", "")
    change(env, "REDIS_URL", "rediss://redis.example.org/0")
    change(env, "RABBITMQ_URL", "amqps://rabbit.example.org/%2F")
    change(env, "SMTP_HOST", "smtp.example.org")
    change(env, "GCS_BUCKET", "clinic-media")
    runtime = load(env, tmp_path / "state")
    assert runtime.servers == ()
    assert runtime.environment["DATABASE_HOST"] == "db.example.org"
    assert runtime.environment["DATABASE_PORT"] == "5432"
    assert runtime.environment["RABBITMQ_URL"] == "amqps://rabbit.example.org/%2F"
    assert runtime.environment["GCS_BUCKET"] == "clinic-media"


def test_workers_serve_metrics_on_loopback_where_the_file_says_so(env: Path, tmp_path: Path) -> None:
    def metrics() -> dict[str, tuple[str, ...]]:
        names = ("WORKER_METRICS_PORT", "WORKER_METRICS_HOST", "PROMETHEUS_MULTIPROC_DIR")
        workers = [item for item in applications(load(env, tmp_path / "state")) if item.name.endswith("-worker")]
        return {item.name: tuple(item.environment.get(name, "") for name in names) for item in workers}

    assert set(metrics().values()) == {("", "", "")}
    change(env, "WORKER_METRICS_BASE_PORT", "5100")
    assert metrics()["auth-worker"] == ("5101", "127.0.0.1", "")
    assert metrics()["audit-worker"] == ("5111", "127.0.0.1", "")
    assert len(set(metrics().values())) == 11
    change(env, "WORKER_METRICS_BASE_PORT", "many")
    with pytest.raises(SettingsError, match="WORKER_METRICS_BASE_PORT"):
        metrics()
