"""Writes of the alert service by people, and by the clock: rule, change, record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from alert_service import queries
from alert_service.errors import LevelNotHigher, LevelOutOfRange, ShelvedTooLong
from alert_service.models import (
    Alert,
    AlertAck,
    AlertAssignment,
    AlertPolicy,
    AlertResolution,
    AlertType,
    rank,
)
from alert_service.paging import open_alert, page, write_step
from common.auth import Caller
from common.errors import Forbidden, NotFound
from common.outbox import record


def create_alert(
    session: Session,
    caller: Caller,
    patient_id: UUID,
    type: str,
    level: str | None,
    observed_at: datetime | None,
    location: dict[str, float] | None,
    **values: Any,
) -> Alert:
    """Raise an alert by hand and tell people; raises NotFound, LevelOutOfRange. By a person: it is no duplicate."""
    if not caller.sees(patient_id):
        raise NotFound
    kind = queries.get_type(session, type)
    now = datetime.now(UTC)
    alert = Alert(
        org_id=caller.org_id,
        patient_id=patient_id,
        type=kind.code,
        level=_allowed(kind, level or kind.default_level),
        status="created",
        source="manual",
        observed_at=observed_at or now,
        detected_at=now,
        escalations=0,
        **(location or {}),
        **values,
    )
    open_alert(session, caller, alert)
    return alert


def acknowledge(session: Session, caller: Caller, alert_id: UUID, note: str | None) -> Alert:
    """Take note of an alert: it escalates no more; raises NotFound, InvalidTransition."""
    alert = queries.get_alert(session, caller, alert_id, to_change=True)
    change = alert.take("acknowledge")
    session.add(AlertAck(org_id=alert.org_id, alert_id=alert.id, user_id=_person(caller), level=alert.level, note=note))
    write_step(session, caller, alert, "acknowledged", change, note=note)
    return alert


def assign(session: Session, caller: Caller, alert_id: UUID, user_id: UUID, note: str | None) -> Alert:
    """Make somebody responsible for an open alert; raises NotFound, InvalidTransition."""
    alert = queries.get_alert(session, caller, alert_id, to_change=True)
    alert.require_open()
    alert.assigned_to = user_id
    session.add(AlertAssignment(org_id=alert.org_id, alert_id=alert.id, user_id=user_id, assigned_by=_person(caller)))
    write_step(session, caller, alert, "assigned", {"user_id": str(user_id)}, note=note)
    return alert


def resolve(session: Session, caller: Caller, alert_id: UUID, outcome: str | None, note: str | None) -> Alert:
    """End an acknowledged alert; raises NotFound, InvalidTransition."""
    alert = queries.get_alert(session, caller, alert_id, to_change=True)
    change = alert.take("resolve")
    session.add(
        AlertResolution(org_id=alert.org_id, alert_id=alert.id, user_id=_person(caller), outcome=outcome, note=note)
    )
    write_step(session, caller, alert, "resolved", change, note=note)
    return alert


def close(session: Session, caller: Caller, alert_id: UUID, note: str | None) -> Alert:
    """Put a resolved alert away; raises NotFound, InvalidTransition."""
    alert = queries.get_alert(session, caller, alert_id, to_change=True)
    write_step(session, caller, alert, "closed", alert.take("close"), note=note)
    return alert


def escalate(session: Session, caller: Caller, alert_id: UUID, level: str | None, note: str | None) -> Alert:
    """Page again, at a higher level when one is given.

    Raises NotFound, InvalidTransition, LevelOutOfRange, LevelNotHigher.
    """
    alert = queries.get_alert(session, caller, alert_id, to_change=True)
    alert.require_open()
    change = None
    if level is not None:
        if rank(_allowed(queries.get_type(session, alert.type), level)) <= rank(alert.level):
            raise LevelNotHigher(current=alert.level)
        change = alert.worsen(level)
    page(session, caller, alert, "escalated", change, note=note)
    return alert


def shelve(session: Session, caller: Caller, alert_id: UUID, minutes: int, note: str) -> Alert:
    """Silence an open alert, and others like it, for a bounded time (ISA-18.2); then it pages again.

    Raises NotFound, InvalidTransition, ShelvedTooLong.
    """
    alert = queries.get_alert(session, caller, alert_id, to_change=True)
    alert.require_open()
    policy = queries.policy_for(session, alert.org_id, alert.type)
    if minutes > policy.max_shelve_minutes:
        raise ShelvedTooLong(maximum=policy.max_shelve_minutes)
    alert.escalate_at = alert.shelved_until = datetime.now(UTC) + timedelta(minutes=minutes)
    write_step(session, caller, alert, "shelved", {"minutes": minutes}, note=note)
    return alert


def escalate_overdue(session: Session, caller: Caller, alert: Alert) -> None:
    """What the clock does with an alert whose `escalate_at` has come: page again, or end its shelving."""
    if alert.shelved_until is None:
        alert.escalations += 1
        page(session, caller, alert, "escalated", {"escalation": alert.escalations})
        return
    alert.escalate_at = alert.shelved_until = None
    tell = page if alert.episode_over_at is None else write_step
    tell(session, caller, alert, "shelving_ended")


def create_policy(session: Session, caller: Caller, alert_type: str | None, **values: Any) -> AlertPolicy:
    """Give the organisation a policy, for one alert type or for all; a second one for the same is a conflict."""
    if alert_type is not None:
        queries.get_type(session, alert_type)
    policy = AlertPolicy(org_id=caller.org_id, alert_type=alert_type, **values)
    session.add(policy)
    record(session, caller, "alert_policy.created", policy, values.keys())
    return policy


def replace_policy(
    session: Session, caller: Caller, policy_id: UUID, alert_type: str | None, **values: Any
) -> AlertPolicy:
    """Replace a policy of the organisation; raises NotFound, also for the suite's default."""
    policy = queries.get_own_policy(session, caller, policy_id)
    if alert_type is not None:
        queries.get_type(session, alert_type)
    changed = policy.change(alert_type=alert_type, **values)
    record(session, caller, "alert_policy.replaced", policy, changed)
    return policy


def remove_policy(session: Session, caller: Caller, policy_id: UUID) -> None:
    """Remove a policy of the organisation; raises NotFound, also for the suite's default."""
    policy = queries.get_own_policy(session, caller, policy_id)
    session.delete(policy)
    record(session, caller, "alert_policy.removed", policy)


def _allowed(kind: AlertType, level: str) -> str:
    if not kind.allows(level):
        raise LevelOutOfRange(type=kind.code, minimum=kind.min_level, maximum=kind.max_level)
    return level


def _person(caller: Caller) -> UUID:
    if caller.user_id is None:
        raise Forbidden
    return caller.user_id
