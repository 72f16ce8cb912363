"""What inference and notification report: candidates become alerts, deliveries become steps of their life."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from alert_service import queries
from alert_service.models import PAGED_LEVELS, Alert, rank
from alert_service.paging import open_alert, page, write_step
from common.auth import Caller
from common.observability import ALARM_SECONDS, observe_after_commit

REACHED = ("SENT", "DELIVERED", "READ")
# Candidates of one patient and type wait for each other, so that none misses the alert another is just making.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


def note_candidate(
    session: Session,
    caller: Caller,
    *,
    episode_id: UUID,
    transition: str,
    inference_id: UUID,
    patient_id: UUID,
    stream_id: UUID | None,
    device_id: UUID | None,
    type: str,
    level: str,
    observed_at: datetime,
    detected_at: datetime,
    model: str,
    stale: bool,
) -> None:
    """Open, raise or annotate the one alert of an episode.

    Messages may change their order: any transition of an unknown episode opens its alert, and only a higher level
    changes a known one, so that an alarm is neither lost nor doubled. What is stale is recorded, and nobody is paged.
    """
    session.execute(_ONE_AT_A_TIME, {"key": f"{caller.org_id}:{patient_id}:{type}"})
    alert = queries.find_of_episode(session, caller, type, episode_id, inference_id)
    if alert is None:
        alert = Alert(
            org_id=caller.org_id,
            patient_id=patient_id,
            type=type,
            level=level,
            source="inference",
            inference_id=inference_id,
            episode_id=episode_id,
            stream_id=stream_id,
            device_id=device_id,
            model=model,
            observed_at=observed_at,
            detected_at=detected_at,
            escalations=0,
        )
        _open(session, caller, alert, stale)
    elif transition != "close":
        _repeat(session, caller, alert, level, stale)
    if transition == "close" and alert.episode_over_at is None:
        alert.episode_over_at = observed_at
        write_step(session, caller, alert, "episode_over")


def _open(session: Session, caller: Caller, alert: Alert, stale: bool) -> None:
    kind = queries.get_type(session, alert.type)
    alert.level = kind.clamp(alert.level)
    policy = queries.policy_for(session, alert.org_id, alert.type)
    original = queries.find_original(session, caller, alert.patient_id, alert.type, alert.observed_at, policy)
    if original is not None and original.covers(alert.level):
        # Born closed: the original carries the life cycle for both.
        alert.status, alert.duplicate_of = "closed", original.id
        open_alert(session, caller, alert)
        write_step(session, caller, original, "repeated", {"duplicate": str(alert.id)})
    else:
        alert.status = "created"
        open_alert(session, caller, alert, policy, stale=stale)
        if not stale:
            created = (datetime.now(UTC) - alert.observed_at).total_seconds()
            observe_after_commit(session, ALARM_SECONDS.labels("created"), created)


def _repeat(session: Session, caller: Caller, alert: Alert, level: str, stale: bool) -> None:
    level = queries.get_type(session, alert.type).clamp(level)
    if rank(level) > rank(alert.level):
        original = None if alert.duplicate_of is None else queries.get_alert(session, caller, alert.duplicate_of)
        if stale or (original is not None and original.covers(level)):
            change = {"from": alert.level, "to": level}
            alert.level = level
            write_step(session, caller, alert, "level_raised", change)
        else:
            page(session, caller, alert, "level_raised", alert.worsen(level))
    elif not stale and alert.level in PAGED_LEVELS and alert.waits_for_first_page:
        page(session, caller, alert, "paged")


def note_delivery(
    session: Session,
    caller: Caller,
    *,
    alert_id: UUID,
    delivery_id: UUID,
    channel: str,
    status: str,
    at: datetime,
    reason: str | None,
) -> None:
    """Write what became of a delivery; the first that reached somebody makes a created alert notified.

    Raises NotFound for an alert that is not the organisation's. `at` orders the timeline, so updates may change theirs.
    """
    alert = queries.get_alert(session, caller, alert_id, to_change=True)
    _measure_delivery(session, alert, channel, status, at)
    details = {"channel": channel, "delivery_id": str(delivery_id)}
    if reason is not None:
        details["reason"] = reason
    write_step(session, caller, alert, f"delivery_{status.lower()}", details, at=at, actor="service:notification")
    if status in REACHED and alert.reached_somebody():
        write_step(session, caller, alert, "notified", {"from": "created", "to": "notified"}, at=at)


def _measure_delivery(session: Session, alert: Alert, channel: str, status: str, at: datetime) -> None:
    """The first delivery to a person alone: what follows is about the same data, only later."""
    reached = status in REACHED and channel != "LOG" and alert.source == "inference"
    if reached and not queries.has_reached_somebody(session, alert):
        delivered = (at - alert.observed_at).total_seconds()
        observe_after_commit(session, ALARM_SECONDS.labels("delivered"), delivered)
