"""The compose files and the Dockerfiles keep their promises; Docker itself is not needed."""

from __future__ import annotations

import re
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.config import ROOT, SERVICE_PORTS, SERVICES, package_of
from ops.containers.secret_files import contents
from ops.native.settings import PASSWORDS, SIGNING_KEYS

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DEBUG = yaml.safe_load((ROOT / "docker-compose.debug.yml").read_text())
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {"gateway", "gateway-stand-in", "migrate", "mail", *SERVICES, *(f"{name}-worker" for name in SERVICES)}
STARTS_AS_ROOT = {"postgres", "redis", "rabbitmq", "influxdb"}  # their entry points become the server's own user
ROOTS_CAPABILITIES = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
DOCKERFILES = [ROOT / package_of(name) / "Dockerfile" for name in SERVICE_PORTS]
COMMON_SECRETS = {"jwt_signing_keys", "internal_signing_keys", "redis_url", "rabbitmq_url"}
OWN_SECRETS = {
    "auth": {"auth_secret_keys"},
    "audit": {"audit_signing_key"},
    "influx": {"influxdb_token"},
    "media": {"gcp_service_account"},
    "notification": {"smtp_password"},
}

each_container = pytest.mark.parametrize("name", sorted(CONTAINERS))


def secrets_of(name: str) -> set[str]:
    return {item if isinstance(item, str) else item["source"] for item in CONTAINERS[name].get("secrets", [])}


def environment_of(name: str) -> dict[str, Any]:
    return CONTAINERS[name].get("environment", {})


def test_every_service_has_a_web_container_and_a_worker_and_the_gateway_web_alone():
    assert CONTAINERS.keys() >= OURS
    assert "gateway-worker" not in CONTAINERS
    for name in SERVICES:
        assert CONTAINERS[name]["image"] == CONTAINERS[f"{name}-worker"]["image"]
        assert CONTAINERS[f"{name}-worker"]["command"] == ["python", "-m", "common.worker", name]


@each_container
def test_a_container_can_change_nothing_but_its_volumes(name: str):
    facts = CONTAINERS[name]
    assert facts["read_only"] is True
    assert facts["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in facts["security_opt"]
    assert not facts.get("privileged") and "network_mode" not in facts and "pid" not in facts
    assert not any("docker.sock" in str(volume) for volume in facts.get("volumes", []))
    assert set(facts.get("cap_add", [])) <= (ROOTS_CAPABILITIES if name in STARTS_AS_ROOT else set())


@each_container
def test_a_container_is_not_root(name: str):
    user = str(CONTAINERS[name].get("user", ""))
    if name in OURS:
        assert not user, "the Dockerfile says it"
    elif name not in STARTS_AS_ROOT:
        assert user and not user.startswith(("0", "root"))


@each_container
def test_a_container_is_bounded_and_watched(name: str):
    facts = CONTAINERS[name]
    assert facts["mem_limit"] and facts["pids_limit"]
    assert facts["logging"]["options"].keys() >= {"max-size", "max-file"}
    if name == "migrate":
        assert facts["restart"] == "no"
        return
    assert facts["restart"] == "unless-stopped"
    made_by = facts["image"].removeprefix("heartguard/").removesuffix(":local")
    own = (
        "HEALTHCHECK" in (ROOT / package_of(made_by) / "Dockerfile").read_text()
        if made_by in SERVICE_PORTS
        else "healthcheck" in facts
    )
    assert own and not facts.get("healthcheck", {}).get("disable")


@each_container
def test_every_image_has_a_tag_of_its_own(name: str):
    image, _, tag = CONTAINERS[name]["image"].rpartition(":")
    assert image and tag not in {"", "latest"}
    assert tag == "local" if name in OURS else re.match(r"v?\d+\.\d+", tag)


def test_only_the_gateway_is_published():
    published = {name: facts["ports"] for name, facts in CONTAINERS.items() if facts.get("ports")}
    assert published.pop("gateway") == ["${GATEWAY_HOST:-127.0.0.1}:${GATEWAY_PORT:-5000}:5000"]
    for name, ports in published.items():  # stand-ins and instruments, which nobody gets unasked
        assert CONTAINERS[name]["profiles"] and all(port.startswith("127.0.0.1:") for port in ports), name


def test_the_debug_file_publishes_each_service_on_loopback():
    for name in SERVICES:
        port = SERVICE_PORTS[name]
        assert DEBUG["services"][name]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert all(port.startswith("127.0.0.1:") for facts in DEBUG["services"].values() for port in facts["ports"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_gets_its_own_secrets_only(name: str):
    own = (
        COMMON_SECRETS | {f"{name}_database_password", f"{name}_database_password_next"} | OWN_SECRETS.get(name, set())
    )
    assert secrets_of(name) == secrets_of(f"{name}-worker") == own


def test_no_secret_stands_in_an_environment():
    words = re.compile(r"PASSWORD$|_NEXT$|SECRET|TOKEN|_KEYS?$|_KEYS?_|REDIS_URL|RABBITMQ_URL")
    for name in CONTAINERS:
        for variable, value in environment_of(name).items():
            if words.search(variable):
                assert variable.endswith("_FILE") or variable.endswith("__FILE"), f"{name}: {variable}"
                assert str(value).startswith("/run/secrets/"), f"{name}: {variable}"
        given = {f"/run/secrets/{secret}" for secret in secrets_of(name)}
        asked = {str(v) for v in environment_of(name).values() if str(v).startswith("/run/secrets/")}
        shared = {f"/run/secrets/{secret}" for secret in COMMON_SECRETS}
        assert asked - given <= shared, f"{name} asks for a secret that it does not get"


def test_every_secret_is_a_file_that_the_start_writes():
    variables = dict.fromkeys((*PASSWORDS, *SIGNING_KEYS), "x")
    kept = {"influxdb_password", "influxdb_token", "grafana_password", "metrics_token"}
    assert COMPOSE["secrets"].keys() == contents(variables).keys() | kept
    for name, facts in COMPOSE["secrets"].items():
        assert facts == {"file": f"${{HEARTGUARD_SECRETS:-./.secrets}}/{name}"}


def test_git_and_images_leave_secrets_out():
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {".env", ".secrets/"} <= set(ignored)
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in allowed and not {"!.env", "!.secrets", "!.git", "!.venv"} & set(allowed)
    if (ROOT / ".git").exists():
        kept = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
        assert not [path for path in kept if Path(path).name == ".env" or path.startswith(".secrets")]


def test_services_are_replaceable_replicas():
    for name in (*SERVICES, *(f"{name}-worker" for name in SERVICES)):
        assert not CONTAINERS[name].keys() & {"container_name", "hostname", "ports"}
    for name in CONTAINERS:
        for other in SERVICES:
            url = environment_of(name).get(f"{other.upper()}_URL")
            assert url in {None, f"http://{other}:{SERVICE_PORTS[other]}"}


def test_nothing_starts_before_what_it_needs():
    for name in (*SERVICES, *(f"{name}-worker" for name in SERVICES)):
        needs = CONTAINERS[name]["depends_on"]
        assert needs["migrate"] == {"condition": "service_completed_successfully"}
        assert needs["redis"] == needs["rabbitmq"] == {"condition": "service_healthy"}
    assert CONTAINERS["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}


def test_the_fixed_network_is_none_that_docker_gives_away():
    """Docker takes other networks from these; one of them would sooner or later lie across ours."""
    (pool,) = COMPOSE["networks"]["services"]["ipam"]["config"]
    found = re.fullmatch(r"\$\{SERVICES_SUBNET:-(.+)\}", pool["subnet"])
    assert found is not None
    assert not any(ip_network(found[1]).overlaps(ip_network(given)) for given in ("172.16.0.0/12", "192.168.0.0/16"))


def test_only_who_must_reaches_the_outside():
    assert COMPOSE["networks"]["services"]["internal"] and COMPOSE["networks"]["data"]["internal"]
    outside = {name for name, facts in CONTAINERS.items() if "edge" in facts["networks"]}
    assert {name for name in outside & OURS} == {
        "gateway",
        "gateway-stand-in",
        "notification",
        "notification-worker",
        "media",
        "media-worker",
    }


# -- Dockerfiles


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_the_dockerfiles_are_alike(path: Path):
    """The same text but for the service's name, port and start: so the layers under the code are shared."""
    package = path.parent.name
    service = package.removesuffix("_service")
    text = path.read_text()
    common, own = text.partition("\n")[2].rsplit("\nFROM base\n", 1)
    assert common == DOCKERFILES[1].read_text().partition("\n")[2].rsplit("\nFROM base\n", 1)[0]
    lines = [line.split() for line in own.splitlines()]
    assert ["COPY", "common", "common"] in lines and ["COPY", package, package] in lines
    assert sum(line[0] == "COPY" for line in lines) == 2, "nothing of the other services"
    assert ["EXPOSE", str(SERVICE_PORTS[service])] in lines
    assert "HEALTHCHECK" in own and '"common/probe.py"' in own


def test_no_dockerfile_has_the_size_of_another():
    """A builder that gets them one after another takes one of the same name, size and time for unchanged.

    In a fresh clone all have the same time: one service's image then held another one.
    """
    sizes = [path.stat().st_size for path in ROOT.glob("*/Dockerfile")]
    assert len(set(sizes)) == len(sizes)


@pytest.mark.parametrize("path", [*DOCKERFILES, ROOT / "ops/Dockerfile"], ids=lambda path: path.parent.name)
def test_an_image_is_small_pinned_and_not_root(path: Path):
    stages = re.split(r"^FROM ", path.read_text(), flags=re.MULTILINE)[1:]
    bases = {stage.split()[0] for stage in stages} - {"base"}
    assert bases == {"python:3.11-slim-bookworm"}
    assert re.findall(r"^USER (.+)$", stages[-1], re.MULTILINE) == ["10001:10001"]
    assert not re.search(r"apt-get|gcc|build-essential|pip ", stages[-1] + stages[1])
    assert "--require-hashes" in stages[0] and "--only-binary :all:" in stages[0]
    assert not re.search(r"https?://|--index-url|--trusted-host", path.read_text()), (
        "a registry is the machine's affair"
    )
    assert not re.search(r"^(ARG|ENV).*(PASSWORD|SECRET|TOKEN|KEY)", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-tests.lock"])
def test_the_locks_say_what_the_constraints_say(lock: str):
    def normal(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    constraints = (ROOT / "ops/constraints.txt").read_text()
    pinned = {normal(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)$", constraints, re.MULTILINE)}
    entries = re.split(r"\n(?=\S)", (ROOT / "ops" / lock).read_text().strip())
    locked = {}
    for entry in entries:
        match = re.match(r"([\w.-]+)(?:\[[^\]]*\])?==(\S+)", entry)
        assert match, entry[:80]
        assert "--hash=sha256:" in entry, f"{match[1]} has no hash"
        locked[normal(match[1])] = match[2]
    assert {name: version for name, version in locked.items() if pinned.get(name, version) != version} == {}
    wanted = set()
    for path in [*ROOT.glob("*_service/requirements.txt"), *ROOT.glob("[cgo]*/requirements*.txt")]:
        lines = [line.split("[")[0].strip() for line in path.read_text().splitlines()]
        wanted |= {normal(line) for line in lines if line and not line.startswith(("-", "#"))}
    assert wanted <= locked.keys(), "run python -m ops.lock"
