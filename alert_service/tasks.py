"""What the alert service does by the clock."""

from __future__ import annotations

from sqlalchemy import func, select

from alert_service import actions
from alert_service.models import Alert
from common.auth import service_caller
from common.database import ALL_ORGANIZATIONS, Database
from common.tasks import task

BATCH = 50


@task("escalations", every=5.0)
def escalate_overdue(database: Database) -> int:
    """Page again for alerts that nobody acknowledged in time; two workers never take the same step of one alert."""
    due = select(Alert).where(Alert.escalate_at <= func.now()).order_by(Alert.escalate_at).limit(BATCH)
    with database.transaction(ALL_ORGANIZATIONS) as session:
        overdue = session.scalars(due.with_for_update(skip_locked=True, key_share=True)).all()
        for alert in overdue:
            actions.escalate_overdue(session, service_caller(database.service, alert.org_id), alert)
    return len(overdue)
