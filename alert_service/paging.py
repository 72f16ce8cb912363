"""How a step of an alert's life is written down, and how people are told. Every step passes through here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy.orm import Session
from uuid6 import uuid7

from alert_service import queries
from alert_service.events import AlertCreated, AlertNotify, AlertUpdated
from alert_service.models import PAGED_LEVELS, Alert, AlertPolicy, TimelineEntry
from common.auth import Caller
from common.events import Event
from common.outbox import record

log = structlog.get_logger()


def open_alert(
    session: Session, caller: Caller, alert: Alert, policy: AlertPolicy | None = None, *, stale: bool = False
) -> None:
    """Store a new alert with how it came about, and tell people unless it is low, stale or a duplicate."""
    session.add(alert)
    session.flush()
    device = f"device:{alert.device_id}" if alert.device_id else caller.subject
    add_entry(session, alert, "observed", device, alert.observed_at)
    if alert.model is not None:
        add_entry(session, alert, "detected", f"model:{alert.model}", alert.detected_at)
    add_entry(session, alert, "created", caller.subject, datetime.now(UTC), {"level": alert.level})
    created = AlertCreated(**_facts(alert), source=alert.source, duplicate_of=alert.duplicate_of)
    record(session, caller, "alert.created", alert, {"type": alert.type, "level": alert.level}, publish=created)
    if alert.duplicate_of is None and alert.level in PAGED_LEVELS and not stale:
        page(session, caller, alert, "paged", policy=policy)


def write_step(
    session: Session,
    caller: Caller,
    alert: Alert,
    step: str,
    details: dict[str, Any] | None = None,
    *,
    note: str | None = None,
    at: datetime | None = None,
    actor: str | None = None,
    publish: Sequence[Event] = (),
) -> None:
    """Write a step into the timeline, the audit trail and the bus; `note` stays in the timeline."""
    add_entry(session, alert, step, actor or caller.subject, at or datetime.now(UTC), details, note)
    updated = AlertUpdated(**_facts(alert), step=step)
    record(session, caller, f"alert.{step}", alert, details or {}, publish=[*publish, updated])


def add_entry(
    session: Session,
    alert: Alert,
    step: str,
    actor: str,
    at: datetime,
    details: dict[str, Any] | None = None,
    note: str | None = None,
) -> None:
    """Write a step into the timeline only."""
    session.add(
        TimelineEntry(
            org_id=alert.org_id, alert_id=alert.id, step=step, at=at, actor=actor, details=details or {}, note=note
        )
    )


def page(
    session: Session,
    caller: Caller,
    alert: Alert,
    step: str,
    details: dict[str, Any] | None = None,
    *,
    note: str | None = None,
    policy: AlertPolicy | None = None,
) -> None:
    """Write a step that people are told about through the policy's channels, and await their acknowledgement.

    Whoever knows the policy already gives it.
    """
    policy = policy or queries.policy_for(session, alert.org_id, alert.type)
    channels = policy.channels_of(alert.level)
    if not channels and alert.level in PAGED_LEVELS:
        log.warning("alert.nobody_paged", alert_id=str(alert.id), level=alert.level)
    now = datetime.now(UTC)
    alert.paged_at = now
    alert.await_acknowledgement(policy, now)
    told = {**(details or {}), "channels": ",".join(channels)}
    publish = [AlertNotify(notification_id=uuid7(), channel=channel, **_subject(alert)) for channel in channels]
    write_step(session, caller, alert, step, told, note=note, publish=publish)


def _subject(alert: Alert) -> dict[str, Any]:
    return {
        "alert_id": alert.id,
        "patient_id": alert.patient_id,
        "alert_type": alert.type,
        "level": alert.level,
        "observed_at": alert.observed_at,
    }


def _facts(alert: Alert) -> dict[str, Any]:
    return _subject(alert) | {"status": alert.status}
