"""Logs, metrics and traces. None of them ever carries a secret, a name or a clinical value."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy import event
from sqlalchemy.orm import Session

from common.config import Settings

if TYPE_CHECKING:
    from flask import Flask

_SIZES = (256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 8_388_608)

REQUEST_BYTES = Histogram("heartguard_request_bytes", "Size of request bodies", ["route"], buckets=_SIZES)
RESPONSE_BYTES = Histogram("heartguard_response_bytes", "Size of answers", ["route"], buckets=_SIZES)
CACHE = Counter("heartguard_cache_total", "Look-ups in a cache", ["cache", "outcome"])
# What follows is set by workers alone, one process each. Only labelled metrics may stand here: one without labels
# would be exported as a zero by every web process that imports this module.
_AGES_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 900, 3600)
MESSAGES = Counter("heartguard_messages_total", "Messages consumed", ["queue", "outcome"])
MESSAGE_AGE = Histogram(
    "heartguard_message_age_seconds", "From recording an event to its effect", ["queue"], buckets=_AGES_S
)
PUBLISHED = Counter("heartguard_published_total", "Messages confirmed by the broker", ["service"])
OUTBOX_AGE = Gauge("heartguard_outbox_age_seconds", "Age of the oldest unsent message, postponed or not", ["service"])
OUTBOX_MESSAGES = Gauge("heartguard_outbox_messages", "Unsent messages, 100,000 at most", ["service"])
QUEUE_AGE = Gauge("heartguard_queue_age_seconds", "Age of the oldest message that waits, at most", ["queue"])
QUEUE_MESSAGES = Gauge("heartguard_queue_messages", "Messages that no consumer has taken", ["queue"])
RETRY_MESSAGES = Gauge("heartguard_queue_retry_messages", "Messages that failed and wait to be tried again", ["queue"])
DEAD_LETTERS = Gauge("heartguard_dead_letters", "Messages that could not be processed", ["queue"])
MEASURED = Gauge("heartguard_measured_timestamp_seconds", "When the gauges of what waits were last measured", ["what"])
ALARM_SECONDS = Histogram(
    "heartguard_alarm_seconds",
    "From the data's time of an alarm to its creation, and to the first delivery to somebody",
    ["step"],
    buckets=_AGES_S,
)
UNDELIVERED = Gauge("heartguard_undelivered_alarms", "Critical alarms that reached nobody within 60 s", ["level"])
ESCALATIONS = Counter("heartguard_alert_escalations_total", "Alerts paged again because nobody answered", ["service"])
_WEB = (REQUEST_BYTES, RESPONSE_BYTES, CACHE)


def configure_logging(settings: Settings) -> None:
    """One JSON line per event on standard output, with the request's context merged in."""

    def name_service(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = settings.service
        return event

    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level]),
        processors=[
            structlog.contextvars.merge_contextvars,
            name_service,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_encode),
        ],
        logger_factory=structlog.BytesLoggerFactory(),
    )
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    # pika logs every reconnection attempt with a traceback; the relay and the consumers say it in one line.
    logging.getLogger("pika").setLevel(logging.CRITICAL)


def _encode(event: object, **_options: object) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)


def serve_metrics(app: Flask) -> None:
    """`/metrics`, grouped by route rule so that no id becomes a label; multiprocess under gunicorn."""
    from prometheus_flask_exporter import PrometheusMetrics
    from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

    options = {"group_by": "url_rule", "defaults_prefix": "heartguard", "excluded_paths": ["^/(health|ready)$"]}
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        GunicornInternalPrometheusMetrics(app, **options)
    else:
        registry = CollectorRegistry()
        PrometheusMetrics(app, registry=registry, **options)
        for metric in _WEB:
            registry.register(metric)


def serve_worker_metrics() -> None:
    """Metrics of a worker on `WORKER_METRICS_PORT`, where it is set; for this machine unless `WORKER_METRICS_HOST`."""
    port = os.environ.get("WORKER_METRICS_PORT")
    if port:
        from prometheus_client import start_http_server

        start_http_server(int(port), os.environ.get("WORKER_METRICS_HOST", "127.0.0.1"), REGISTRY)


def observe_after_commit(session: Session, histogram: Histogram, value: float) -> None:
    """Observe `value` once the transaction has committed: one that is tried again must not count twice."""
    event.listen(session, "after_commit", lambda _session: histogram.observe(max(0.0, value)), once=True)


def trace(settings: Settings, app: Flask | None = None) -> None:
    """Send OpenTelemetry traces when `OTEL_EXPORTER_OTLP_ENDPOINT` is set; do nothing otherwise.

    The OpenTelemetry packages are in `common/requirements-tracing.txt`; the start fails clearly without them.
    """
    if not settings.otlp_endpoint:
        return
    from opentelemetry import trace as api
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource({"service.name": settings.service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    api.set_tracer_provider(provider)
    SQLAlchemyInstrumentor().instrument()
    if app is not None:
        instrumentor: Any = FlaskInstrumentor()  # not typed
        instrumentor.instrument_app(app)
