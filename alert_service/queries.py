"""Reads of the alert service, within the caller's organisation and care relations."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from alert_service.models import OPEN_STATUSES, PAGED_LEVELS, Alert, AlertPolicy, AlertType, Catalogue, TimelineEntry
from common.auth import Caller
from common.care import in_care
from common.database import get_one
from common.errors import ValidationFailed
from common.pagination import Page, paginate

MAX_STEPS = 1000


def visible_alerts(caller: Caller) -> Select[Any]:
    """The alerts of the patients whom the caller may see."""
    return select(Alert).where(Alert.org_id == caller.org_id, in_care(caller, Alert.patient_id))


def get_alert(session: Session, caller: Caller, alert_id: UUID, *, to_change: bool = False) -> Alert:
    """One alert, locked when it is going to change; raises NotFound."""
    statement = visible_alerts(caller).where(Alert.id == alert_id)
    return get_one(session, statement.with_for_update(key_share=True) if to_change else statement)


def find_alerts(
    session: Session,
    caller: Caller,
    limit: int,
    cursor: str | None,
    status: list[str] | None = None,
    level: list[str] | None = None,
    type: str | None = None,
    patient: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Page:
    """The alerts the caller may see, newest first; `since` <= observed < `until`."""
    statement = visible_alerts(caller)
    if status is not None:
        statement = statement.where(Alert.status.in_(status))
    if level is not None:
        statement = statement.where(Alert.level.in_(level))
    if type is not None:
        statement = statement.where(Alert.type == type)
    if patient is not None:
        statement = statement.where(Alert.patient_id == patient)
    if since is not None:
        statement = statement.where(Alert.observed_at >= since)
    if until is not None:
        statement = statement.where(Alert.observed_at < until)
    return paginate(session, statement, Alert.id, limit, cursor)


def find_of_episode(session: Session, caller: Caller, type: str, episode_id: UUID, inference_id: UUID) -> Alert | None:
    """The alert that an episode, or the inference, has already brought; locked."""
    statement = visible_alerts(caller).where(
        Alert.type == type, or_(Alert.episode_id == episode_id, Alert.inference_id == inference_id)
    )
    return session.scalar(statement.order_by(Alert.id).limit(1).with_for_update(key_share=True))


def find_original(
    session: Session, caller: Caller, patient_id: UUID, type: str, observed_at: datetime, policy: AlertPolicy
) -> Alert | None:
    """The open alert that makes another of the same patient and type a duplicate: within the hold-off, or shelved.

    One of which nobody was told hides no other, unless nobody has to be told.
    """
    statement = visible_alerts(caller).where(
        Alert.patient_id == patient_id,
        Alert.type == type,
        Alert.status.in_(OPEN_STATUSES),
        Alert.duplicate_of.is_(None),
        or_(Alert.paged_at.is_not(None), Alert.level.not_in(PAGED_LEVELS)),
        or_(
            Alert.observed_at.between(observed_at - policy.hold_off, observed_at + policy.hold_off),
            Alert.shelved_until.is_not(None),
        ),
    )
    return session.scalar(statement.order_by(Alert.observed_at.desc()).limit(1))


def get_timeline(session: Session, caller: Caller, alert_id: UUID) -> list[dict[str, Any]]:
    """The steps of an alert's life in their order (of more than 1,000, the newest); raises NotFound."""
    alert = get_alert(session, caller, alert_id)
    newest = select(TimelineEntry).where(TimelineEntry.alert_id == alert.id)
    entries = session.scalars(newest.order_by(TimelineEntry.at.desc(), TimelineEntry.id.desc()).limit(MAX_STEPS)).all()
    return [
        {
            "step": entry.step,
            "at": entry.at,
            "delay_s": round((entry.at - alert.observed_at).total_seconds(), 3),
            "actor": entry.actor,
            "details": {key: str(value) for key, value in entry.details.items()},
            "note": entry.note,
        }
        for entry in reversed(entries)
    ]


def get_type(session: Session, code: str) -> AlertType:
    """One alert type; raises ValidationFailed for a code that the catalogue does not have."""
    kind = session.get(AlertType, code)
    if kind is None:
        raise ValidationFailed(details=[{"field": "type", "issue": "choice"}])
    return kind


def find_catalogue(session: Session, catalogue: type[Catalogue]) -> Page:
    """All entries of a catalogue, in their order."""
    return Page(session.scalars(select(catalogue).order_by(catalogue.position)).all())


def policy_for(session: Session, org_id: UUID, alert_type: str) -> AlertPolicy:
    """The policy that holds: the organisation's for the type, its general one, else the suite's default."""
    statement = (
        select(AlertPolicy)
        .where(
            or_(AlertPolicy.org_id == org_id, AlertPolicy.org_id.is_(None)),
            or_(AlertPolicy.alert_type == alert_type, AlertPolicy.alert_type.is_(None)),
        )
        .order_by(AlertPolicy.org_id.is_(None), AlertPolicy.alert_type.is_(None))
        .limit(1)
    )
    return session.scalars(statement).one()


def get_policy(session: Session, caller: Caller, policy_id: UUID) -> AlertPolicy:
    """One policy of the organisation, or the suite's default; raises NotFound."""
    return get_one(session, _visible_policies(caller).where(AlertPolicy.id == policy_id))


def get_own_policy(session: Session, caller: Caller, policy_id: UUID) -> AlertPolicy:
    """One policy that the organisation may change; raises NotFound, also for the suite's default."""
    return get_one(session, select(AlertPolicy).where(AlertPolicy.id == policy_id, AlertPolicy.org_id == caller.org_id))


def find_policies(session: Session, caller: Caller, limit: int, cursor: str | None) -> Page:
    """The organisation's policies and the suite's default, newest first."""
    return paginate(session, _visible_policies(caller), AlertPolicy.id, limit, cursor)


def _visible_policies(caller: Caller) -> Select[Any]:
    return select(AlertPolicy).where(or_(AlertPolicy.org_id == caller.org_id, AlertPolicy.org_id.is_(None)))


def has_reached_somebody(session: Session, alert: Alert) -> bool:
    """Whether a delivery has reached a person; the operators' log is nobody."""
    told = select(TimelineEntry.id).where(
        TimelineEntry.alert_id == alert.id,
        TimelineEntry.step.in_(("delivery_sent", "delivery_delivered", "delivery_read")),
        TimelineEntry.details["channel"].astext != "LOG",
    )
    return session.scalar(told.limit(1)) is not None
