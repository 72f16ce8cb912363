"""Prometheus: its configuration and rules, checked by its own tool and against what the processes really export."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest

from common.auth import service_caller
from common.config import ROOT, SERVICE_PORTS, SERVICES
from common.messaging import dead_letter_queue, parameters
from common.outbox import record
from ops.native.servers.base import LOOPBACK, free_ports
from tests.support.suite import Suite

PROMETHEUS = ROOT / "ops/prometheus"
RULES = PROMETHEUS / "rules/heartguard.yml"
NAMES = re.compile(r"\b(?:heartguard|process)_[a-z_]+\b")
WORKER_ONLY = re.compile(r"^heartguard_(outbox|queue|dead|undelivered|measured|messages|message|published|alarm)", re.M)

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian package prometheus)"
)


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_configuration_is_valid():
    promtool("check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")
    promtool("check", "rules", RULES)


@needs_promtool
def test_each_alert_fires_for_its_cause(tmp_path):
    targets = [("gateway", "gateway"), *((job, name) for job in ("web", "worker") for name in SERVICES)]

    def up(chosen: list[tuple[str, str]]) -> str:
        lines = (f'up{{job="{job}", service="{name}", instance="one"}}' for job, name in chosen)
        return "\n".join(f"      - {{series: '{line}', values: '1x80'}}" for line in lines)

    text = Path(__file__).with_name("alert_rules.yml").read_text().replace("RULES", str(RULES))
    text = text.replace("ALL_UP_BUT_ALERT_WORKER", up([item for item in targets if item != ("worker", "alert")]))
    path = tmp_path / "rules_test.yml"
    path.write_text(text.replace("ALL_UP", up(targets)))
    promtool("test", "rules", path)


def test_every_alert_says_how_grave_it_is_and_what_to_do():
    alerts = RULES.read_text().split("- alert: ")[1:]
    assert len(alerts) > 5
    tested = Path(__file__).with_name("alert_rules.yml").read_text()
    for alert in alerts:
        name = alert.split()[0]
        assert name in tested, f"{name} has no test"
        assert re.search(r"severity: (critical|warning)", alert), name
        assert "`" in alert.split("description:")[1] or "dashboard" in alert, f"{name} names no command"


def test_every_service_is_scraped_and_missed():
    configuration, rules = (PROMETHEUS / "prometheus.yml").read_text(), RULES.read_text()
    for name in SERVICES:
        assert f"names: [{name}], type: A, port: {SERVICE_PORTS[name]}," in configuration
        assert re.search(rf"[\[ ]{name}-worker[,\]]", configuration)
        for job in ("web", "worker"):
            assert f'absent(up{{job="{job}", service="{name}"}})' in rules


@pytest.fixture
def suite(servers, tmp_path) -> Iterator[Suite]:
    started = Suite(servers, tmp_path, {"WORKER_METRICS_PORT": str(free_ports(1)[0])})
    yield started
    started.stop()


def scrape(port: int | str) -> str:
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=5) as answer:
        return answer.read().decode()


def scrape_worker(suite: Suite) -> str:
    try:
        return scrape(suite.environment["WORKER_METRICS_PORT"])
    except OSError:  # it does not listen yet
        return ""


def value_of(text: str, sample: str) -> float | None:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.M)
    return float(found[1]) if found else None


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def exported(text: str) -> set[str]:
    """Every name that a query may use."""
    families = re.findall(r"^# TYPE (\S+) (\S+)", text, re.M)
    derived = {
        f"{name}{end}" for name, kind in families if kind == "histogram" for end in ("_bucket", "_sum", "_count")
    }
    return derived | {name for name, _ in families}


def test_rules_and_dashboards_name_only_what_is_exported(suite, tmp_path):
    shared = tmp_path / "prometheus"
    shared.mkdir()
    suite.environment["PROMETHEUS_MULTIPROC_DIR"] = str(shared)
    suite.start_web("alert")
    del suite.environment["PROMETHEUS_MULTIPROC_DIR"]
    suite.start_web("gateway")
    suite.start_workers("alert")
    with pytest.raises(urllib.error.HTTPError):  # nobody's request: it counts all the same
        urllib.request.urlopen(f"{suite.url('gateway')}/alerts", timeout=5)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{suite.url('alert')}/alerts", timeout=5)
    what = [f'heartguard_measured_timestamp_seconds{{what="{name}"}}' for name in ("outbox", "queues", "undelivered")]
    wait_until(lambda: all(value_of(scrape_worker(suite), sample) for sample in what))

    worker, gateway = scrape_worker(suite), scrape(suite.ports["gateway"])
    web = scrape(suite.ports["alert"])
    used = set(NAMES.findall(RULES.read_text()))
    for path in (ROOT / "ops/grafana/dashboards").glob("*.json"):
        for panel in json.loads(path.read_text())["panels"]:
            used.update(*(NAMES.findall(target["expr"]) for target in panel["targets"]))
    assert len(used) > 15
    assert used <= exported(worker) | exported(gateway) | exported(web)
    assert not WORKER_ONLY.search(web), "a web process exports zeros for what only workers measure"
    assert value_of(worker, 'heartguard_queue_messages{queue="alert.candidates"}') is not None


def test_the_age_of_the_outbox_grows_while_the_broker_is_away(suite, service):
    database = service("alert").database
    suite.environment["RABBITMQ_URL"] = f"amqp://nobody:nothing@{LOOPBACK}:{free_ports(1)[0]}/"
    suite.start_workers("alert")
    with database.transaction(None) as session:
        record(session, service_caller("alert", None, "metrics-test"), "metrics.tested", "tests")
    age = 'heartguard_outbox_age_seconds{service="alert"}'
    wait_until(lambda: (value_of(scrape_worker(suite), age) or 0) > 0)
    before = value_of(scrape_worker(suite), age)
    wait_until(lambda: (value_of(scrape_worker(suite), age) or 0) > before + 3)
    assert value_of(scrape_worker(suite), 'heartguard_outbox_messages{service="alert"}') >= 1


def test_what_cannot_be_processed_is_counted(suite, servers):
    suite.start_workers("alert")
    sample = 'heartguard_dead_letters{queue="alert.deliveries"}'
    wait_until(lambda: value_of(scrape_worker(suite), sample) is not None)
    before = value_of(scrape_worker(suite), sample)
    connection = pika.BlockingConnection(parameters(servers.rabbitmq.url))
    try:
        channel = connection.channel()
        channel.basic_publish("", "alert.deliveries", b"no envelope", pika.BasicProperties(delivery_mode=2))
        wait_until(lambda: value_of(scrape_worker(suite), sample) == before + 1)
        channel.basic_get(dead_letter_queue("alert.deliveries"), auto_ack=True)
        wait_until(lambda: value_of(scrape_worker(suite), sample) == before)
    finally:
        connection.close()
