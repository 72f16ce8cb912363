"""`python -m ops.grafana` writes the dashboards into `ops/grafana/dashboards`; `--check` only compares.

Change them here, never in a browser: what Grafana shows is read from the files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("dashboards")
SCHEMA_VERSION = 39  # Grafana 11
SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT = 24, 8
RATE = "[$__rate_interval]"
SECONDS, PER_SECOND, SHARE, COUNT = "s", "reqps", "percentunit", "short"
WEB = "heartguard_http_request"
ALARM = "heartguard_alarm_seconds"

Lines = dict[str, str]  # legend -> PromQL


def quantiles(metric: str, by: str = "", where: str = "") -> Lines:
    """The 50th, 95th and 99th percentile of a histogram, for each `by`."""
    labels = ", ".join(filter(None, ("le", by)))
    legend = f"{{{{{by}}}}} " if by else ""
    buckets = f"sum by ({labels}) (rate({metric}_bucket{where}{RATE}))"
    return {f"{legend}p{percent}": f"histogram_quantile(0.{percent}, {buckets})" for percent in (50, 95, 99)}


SERVICES: list[tuple[str, str, str, Lines]] = [
    (
        "Traffic: answers of each service",
        "Requests a second, without /health and /ready.",
        PER_SECOND,
        {"{{service}}": f'sum by (service) (rate({WEB}_total{{job="web"}}{RATE}))'},
    ),
    (
        "Traffic: answers of the gateway",
        "Requests a second for each service behind it.",
        PER_SECOND,
        {"{{upstream}}": f"sum by (upstream) (rate(heartguard_gateway_requests_total{RATE}))"},
    ),
    (
        "Latency of each service",
        "Time in the service.",
        SECONDS,
        quantiles(f"{WEB}_duration_seconds", "service", '{job="web"}'),
    ),
    (
        "Latency through the gateway",
        "Time to the answer that a client sees.",
        SECONDS,
        quantiles("heartguard_gateway_request_seconds", "upstream"),
    ),
    (
        "Errors of each service",
        "Share of answers with status 5xx.",
        SHARE,
        {
            "{{service}}": f'sum by (service) (rate({WEB}_total{{job="web", status=~"5.."}}{RATE}))'
            f' / sum by (service) (rate({WEB}_total{{job="web"}}{RATE}))'
        },
    ),
    (
        "Calls of the gateway that failed",
        "No answer, by cause; and requests refused over a rate limit.",
        PER_SECOND,
        {
            "{{upstream}} {{cause}}": "sum by (upstream, cause)"
            f" (rate(heartguard_gateway_upstream_failures_total{RATE}))",
            "refused {{scope}}": f"sum by (scope) (rate(heartguard_gateway_refused_total{RATE}))",
        },
    ),
    (
        "Saturation: busy threads of each service",
        "Mean number of requests at work; WEB_WORKERS times WEB_THREADS is all there are.",
        COUNT,
        {"{{service}}": f'sum by (service) (rate({WEB}_duration_seconds_sum{{job="web"}}{RATE}))'},
    ),
    (
        "Saturation: processor of each worker",
        "Cores in use.",
        COUNT,
        {"{{service}}": f'sum by (service) (rate(process_cpu_seconds_total{{job="worker"}}{RATE}))'},
    ),
    (
        "Replicas that answer",
        "Targets that Prometheus reaches.",
        COUNT,
        {"{{job}} {{service}}": "sum by (job, service) (up)"},
    ),
    (
        "Breakers of the gateway",
        "1 while the gateway leaves a service alone, or keeps its limits in memory because Redis is away.",
        COUNT,
        {
            "{{upstream}}": "max by (upstream) (heartguard_gateway_breaker_open)",
            "redis away": "max(heartguard_gateway_redis_away)",
        },
    ),
]
ALARM_PATH: list[tuple[str, str, str, Lines]] = [
    (
        "Critical alarms that reached nobody",
        "Paged and unacknowledged, critical for over 60 s, delivered to nobody since. Must be 0.",
        COUNT,
        {"undelivered": 'max(heartguard_undelivered_alarms{level="critical"})'},
    ),
    (
        "Dead letters",
        "Messages that could not be processed, by queue. Must be 0.",
        COUNT,
        {"{{queue}}": "max by (queue) (heartguard_dead_letters)"},
    ),
    (
        "Time to delivery",
        "From the data's time to the first delivery that reached somebody.",
        SECONDS,
        quantiles(ALARM, "", '{step="delivered"}'),
    ),
    (
        "Time to creation",
        "From the data's time to the alert.",
        SECONDS,
        quantiles(ALARM, "", '{step="created"}'),
    ),
    (
        "Queues: depth",
        "Messages that no consumer has taken, and those that wait to be tried again.",
        COUNT,
        {
            "{{queue}}": "max by (queue) (heartguard_queue_messages)",
            "{{queue}} again": "max by (queue) (heartguard_queue_retry_messages)",
        },
    ),
    (
        "Queues: age",
        "How old the oldest waiting message is, at most.",
        SECONDS,
        {"{{queue}}": "max by (queue) (heartguard_queue_age_seconds)"},
    ),
    (
        "Outboxes: depth",
        "Events that wait for the broker.",
        COUNT,
        {"{{service}}": "max by (service) (heartguard_outbox_messages)"},
    ),
    (
        "Outboxes: age",
        "How old the oldest of them is.",
        SECONDS,
        {"{{service}}": "max by (service) (heartguard_outbox_age_seconds)"},
    ),
    (
        "Messages consumed",
        "A second, by queue and outcome.",
        COUNT,
        {"{{queue}} {{outcome}}": f"sum by (queue, outcome) (rate(heartguard_messages_total{RATE}))"},
    ),
    (
        "From event to effect",
        "95th percentile of the age of messages when their effect is stored.",
        SECONDS,
        {
            "{{queue}}": "histogram_quantile(0.95, sum by (le, queue)"
            f" (rate(heartguard_message_age_seconds_bucket{RATE})))"
        },
    ),
    (
        "Events published",
        "Confirmed by the broker, a second.",
        COUNT,
        {"{{service}}": f"sum by (service) (rate(heartguard_published_total{RATE}))"},
    ),
    (
        "Escalations",
        "Alerts paged again in the last hour because nobody answered.",
        COUNT,
        {"escalations": "sum(increase(heartguard_alert_escalations_total[1h]))"},
    ),
]


def dashboard(uid: str, title: str, charts: list[tuple[str, str, str, Lines]]) -> dict[str, Any]:
    """A dashboard of time series, two in a row."""
    return {
        "uid": uid,
        "title": title,
        "tags": ["heartguard"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": []},
        "annotations": {"list": []},
        "panels": [_panel(number, *chart) for number, chart in enumerate(charts)],
    }


def _panel(number: int, title: str, description: str, unit: str, lines: Lines) -> dict[str, Any]:
    width = WIDTH // 2
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "gridPos": {"x": number % 2 * width, "y": number // 2 * HEIGHT, "w": width, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for index, (legend, expression) in enumerate(lines.items())
        ],
    }


def files() -> dict[Path, str]:
    """Every dashboard's file with what belongs into it."""
    made = {
        "services": dashboard("heartguard-services", "HeartGuard: services", SERVICES),
        "alarm-path": dashboard("heartguard-alarm-path", "HeartGuard: alarm path", ALARM_PATH),
    }
    return {FOLDER / f"{name}.json": json.dumps(content, indent=2) + "\n" for name, content in made.items()}


def main(arguments: list[str]) -> int:
    """Write the files, or say with --check which are stale; returns the exit status."""
    stale = [path for path, content in files().items() if not path.exists() or path.read_text() != content]
    if arguments == ["--check"]:
        if stale:
            print(f"stale: {', '.join(path.name for path in stale)}; run python -m ops.grafana")
        return bool(stale)
    FOLDER.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(files()[path])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
