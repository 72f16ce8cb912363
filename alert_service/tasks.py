"""What the alert service does by the clock."""

from __future__ import annotations

from sqlalchemy import func, select, text

from alert_service import actions
from alert_service.models import Alert
from common.auth import service_caller
from common.database import ALL_ORGANIZATIONS, Database
from common.observability import ESCALATIONS, MEASURED, UNDELIVERED
from common.tasks import task

BATCH = 50


@task("escalations", every=5.0)
def escalate_overdue(database: Database) -> int:
    """Page again for alerts that nobody acknowledged in time; two workers never take the same step of one alert."""
    due = select(Alert).where(Alert.escalate_at <= func.now()).order_by(Alert.escalate_at).limit(BATCH)
    with database.transaction(ALL_ORGANIZATIONS) as session:
        overdue = session.scalars(due.with_for_update(skip_locked=True, key_share=True)).all()
        unanswered = sum(alert.shelved_until is None for alert in overdue)
        for alert in overdue:
            actions.escalate_overdue(session, service_caller(database.service, alert.org_id), alert)
    ESCALATIONS.labels(database.service).inc(unanswered)
    return len(overdue)


# Delivered means: somebody was reached since the alarm is critical. The operators' log is nobody.
_UNDELIVERED = text(
    "SELECT count(*) FROM alerts CROSS JOIN LATERAL ("
    "  SELECT coalesce(max(at), alerts.created_at) AS at FROM alert_timeline WHERE alert_id = alerts.id"
    "  AND step IN ('level_raised', 'escalated') AND details->>'to' = 'critical') AS critical"
    " WHERE level = 'critical' AND status IN ('created', 'notified') AND duplicate_of IS NULL"
    " AND paged_at IS NOT NULL AND critical.at < now() - interval '60 seconds' AND NOT EXISTS ("
    "  SELECT FROM alert_timeline AS told WHERE told.alert_id = alerts.id AND told.at >= critical.at"
    "  AND told.step IN ('delivery_sent', 'delivery_delivered', 'delivery_read') AND told.details->>'channel' <> 'LOG')"
)


@task("undelivered", every=10.0)
def count_undelivered(database: Database) -> int:
    """Count the critical alarms, paged and unacknowledged, that reached nobody within 60 s; returns 0: done."""
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        UNDELIVERED.labels("critical").set(session.execute(_UNDELIVERED).scalar_one())
    MEASURED.labels("undelivered").set_to_current_time()
    return 0
