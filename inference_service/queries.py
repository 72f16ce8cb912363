"""Reads of the inference service, within the caller's organisation."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from common.auth import Caller
from common.care import in_care
from common.database import get_one
from common.pagination import Page, paginate
from inference_service.models import (
    EventType,
    GroundTruthLabel,
    Inference,
    Model,
    ModelVersion,
    Monitor,
    PatientProfile,
)


def visible(row: Any, caller: Caller) -> Select[Any]:
    """The rows about patients whom the caller may see."""
    return select(row).where(row.org_id == caller.org_id, in_care(caller, row.patient_id))


def offered(row: Any, caller: Caller) -> Select[Any]:
    """The built-in rows and the organisation's own."""
    return select(row).where(or_(row.org_id.is_(None), row.org_id == caller.org_id))


def find_models(session: Session, caller: Caller, limit: int, cursor: str | None) -> Page:
    """The models that the organisation can use, newest first."""
    return paginate(session, offered(Model, caller), Model.id, limit, cursor)


def get_model(session: Session, caller: Caller, model_id: UUID) -> Model:
    """One model; raises NotFound."""
    return get_one(session, offered(Model, caller).where(Model.id == model_id))


def find_versions(session: Session, caller: Caller, model_id: UUID, limit: int, cursor: str | None) -> Page:
    """The versions of a model, newest first; raises NotFound."""
    model = get_model(session, caller, model_id)
    return paginate(
        session, select(ModelVersion).where(ModelVersion.model_id == model.id), ModelVersion.id, limit, cursor
    )


def get_version(session: Session, caller: Caller, model_id: UUID, version: str) -> ModelVersion:
    """One version of a model; raises NotFound."""
    statement = offered(ModelVersion, caller).where(ModelVersion.model_id == model_id, ModelVersion.semver == version)
    return get_one(session, statement)


def find_event_types(session: Session, caller: Caller, limit: int, cursor: str | None) -> Page:
    """The event types that the organisation can use, newest first."""
    return paginate(session, offered(EventType, caller), EventType.id, limit, cursor)


def get_event_type(session: Session, caller: Caller, event_type_id: UUID) -> EventType:
    """One event type; raises NotFound."""
    return get_one(session, offered(EventType, caller).where(EventType.id == event_type_id))


def knows_event_type(session: Session, caller: Caller, code: str) -> bool:
    """Whether the organisation can use the event type of this code."""
    return session.scalar(offered(EventType, caller).where(EventType.code == code)) is not None


def find_inferences(
    session: Session,
    caller: Caller,
    limit: int,
    cursor: str | None,
    patient_id: UUID | None = None,
    stream_id: UUID | None = None,
    event_type: str | None = None,
    level: str | None = None,
    from_time: datetime | None = None,
    to_time: datetime | None = None,
) -> Page:
    """The stored inferences, newest first; the times bound the window's end."""
    statement = visible(Inference, caller)
    equal = {"patient_id": patient_id, "stream_id": stream_id, "event_type": event_type, "level": level}
    statement = statement.filter_by(**{name: value for name, value in equal.items() if value is not None})
    if from_time is not None:
        statement = statement.where(Inference.window_end >= from_time)
    if to_time is not None:
        statement = statement.where(Inference.window_end < to_time)
    return paginate(session, statement, Inference.id, limit, cursor)


def get_inference(session: Session, caller: Caller, inference_id: UUID) -> Inference:
    """One inference; raises NotFound."""
    return get_one(session, visible(Inference, caller).where(Inference.id == inference_id))


def find_labels(
    session: Session,
    caller: Caller,
    limit: int,
    cursor: str | None,
    patient_id: UUID | None = None,
    event_type: str | None = None,
) -> Page:
    """The ground-truth labels, newest first."""
    equal = {"patient_id": patient_id, "event_type": event_type}
    statement = visible(GroundTruthLabel, caller)
    statement = statement.filter_by(**{name: value for name, value in equal.items() if value is not None})
    return paginate(session, statement, GroundTruthLabel.id, limit, cursor)


def get_label(session: Session, caller: Caller, label_id: UUID) -> GroundTruthLabel:
    """One ground-truth label; raises NotFound."""
    return get_one(session, visible(GroundTruthLabel, caller).where(GroundTruthLabel.id == label_id))


def get_monitor(session: Session, caller: Caller, stream_id: UUID) -> Monitor:
    """The monitor of a bound stream; raises NotFound."""
    statement = visible(Monitor, caller).where(Monitor.stream_id == stream_id, Monitor.bound_at.is_not(None))
    return get_one(session, statement)


def get_profile(session: Session, caller: Caller, patient_id: UUID) -> PatientProfile:
    """What is known of a patient; raises NotFound."""
    return get_one(session, visible(PatientProfile, caller).where(PatientProfile.patient_id == patient_id))
