"""Writes of people through the API: one transaction each, with its audit event. Monitors write in `monitors.py`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.auth import Caller
from common.errors import NotFound, ValidationFailed
from common.outbox import record
from inference_service import queries
from inference_service.builtin.limits import ALL_LIMITS, with_overrides
from inference_service.errors import BuiltInIsFixed, LevelsOutOfOrder, RuntimeUnavailable, VersionIsFixed
from inference_service.models import (
    LEVELS,
    EventType,
    GroundTruthLabel,
    Model,
    ModelStage,
    ModelVersion,
    PatientProfile,
    change,
)


def _own(row: Any) -> Any:
    if row.org_id is None:
        raise BuiltInIsFixed
    return row


def create_model(session: Session, caller: Caller, **values: Any) -> Model:
    """Add a model to the caller's organisation; a second one of the same name is a conflict."""
    model = Model(org_id=caller.org_id, **values)
    session.add(model)
    record(session, caller, "model.created", model)
    return model


def change_model(session: Session, caller: Caller, model_id: UUID, **values: Any) -> Model:
    """Rename or describe a model; raises NotFound, BuiltInIsFixed."""
    model = _own(queries.get_model(session, caller, model_id))
    record(session, caller, "model.changed", model, change(model, values))
    return model


def remove_model(session: Session, caller: Caller, model_id: UUID) -> None:
    """Remove a model whose versions were never validated; raises NotFound, BuiltInIsFixed, VersionIsFixed."""
    model = _own(queries.get_model(session, caller, model_id))
    validated = select(ModelVersion.id).where(ModelVersion.model_id == model.id, ModelVersion.validated_at.is_not(None))
    if session.scalar(validated.limit(1)) is not None:
        raise VersionIsFixed
    session.delete(model)
    record(session, caller, "model.removed", model)


def create_version(session: Session, caller: Caller, model_id: UUID, **values: Any) -> ModelVersion:
    """Register a version of a model; raises NotFound, BuiltInIsFixed; the same version twice is a conflict."""
    model = _own(queries.get_model(session, caller, model_id))
    version = ModelVersion(org_id=model.org_id, model=model, stage="retired", **values)
    session.add(version)
    record(session, caller, "model.version_created", version, {"version": version.semver})
    return version


def set_stage(session: Session, caller: Caller, model_id: UUID, version: str, stage: str) -> ModelVersion:
    """Put a version into a stage, in the caller's organisation; raises NotFound, RuntimeUnavailable.

    In production its episodes alarm, in shadow it only stores inferences, retired it does not run.
    """
    chosen = queries.get_version(session, caller, model_id, version)
    if chosen.org_id is not None and stage != "retired":
        raise RuntimeUnavailable
    before = chosen.effective_stage
    if chosen.org_id is not None:
        chosen.stage = stage
    elif chosen.own_stages:
        chosen.own_stages[0].stage = stage
    else:
        session.add(ModelStage(org_id=caller.org_id, model_version_id=chosen.id, stage=stage))
    record(session, caller, "model.stage_set", chosen, {"from": before, "to": stage})
    session.refresh(chosen, ["own_stages"])
    return chosen


def create_event_type(session: Session, caller: Caller, **values: Any) -> EventType:
    """Add an event type to the caller's organisation; raises LevelsOutOfOrder; a known code is a conflict."""
    _check_levels(values)
    event_type = EventType(org_id=caller.org_id, **values)
    session.add(event_type)
    record(session, caller, "event_type.created", event_type, {"code": event_type.code})
    return event_type


def change_event_type(session: Session, caller: Caller, event_type_id: UUID, **values: Any) -> EventType:
    """Replace an event type; raises NotFound, BuiltInIsFixed, LevelsOutOfOrder."""
    event_type = _own(queries.get_event_type(session, caller, event_type_id))
    _check_levels(values)
    record(session, caller, "event_type.changed", event_type, change(event_type, values))
    return event_type


def remove_event_type(session: Session, caller: Caller, event_type_id: UUID) -> None:
    """Remove an event type; raises NotFound, BuiltInIsFixed."""
    event_type = _own(queries.get_event_type(session, caller, event_type_id))
    session.delete(event_type)
    record(session, caller, "event_type.removed", event_type, {"code": event_type.code})


def _check_levels(values: dict[str, Any]) -> None:
    least, default, greatest = (LEVELS.index(values[f"{name}_level"]) for name in ("min", "default", "max"))
    if not least <= default <= greatest:
        raise LevelsOutOfOrder


def label_event(session: Session, caller: Caller, **values: Any) -> GroundTruthLabel:
    """Say what really happened; raises NotFound for a patient or inference out of sight, ValidationFailed."""
    _check_label(session, caller, values)
    label = GroundTruthLabel(org_id=caller.org_id, labelled_by=caller.subject, **values)
    session.add(label)
    record(session, caller, "ground_truth.created", label, {"event_type": label.event_type})
    return label


def change_label(session: Session, caller: Caller, label_id: UUID, **values: Any) -> GroundTruthLabel:
    """Replace a label; whoever changes it vouches for it. Raises NotFound, ValidationFailed."""
    label = queries.get_label(session, caller, label_id)
    _check_label(session, caller, values)
    record(session, caller, "ground_truth.changed", label, change(label, values | {"labelled_by": caller.subject}))
    return label


def remove_label(session: Session, caller: Caller, label_id: UUID) -> None:
    """Remove a label; raises NotFound."""
    label = queries.get_label(session, caller, label_id)
    session.delete(label)
    record(session, caller, "ground_truth.removed", label)


def _check_label(session: Session, caller: Caller, values: dict[str, Any]) -> None:
    if not caller.sees(values["patient_id"]):
        raise NotFound
    if values["ended_at"] is not None and values["ended_at"] <= values["onset_at"]:
        raise ValidationFailed(details=[{"field": "ended_at", "issue": "order"}])
    if not queries.knows_event_type(session, caller, values["event_type"]):
        raise ValidationFailed(details=[{"field": "event_type", "issue": "choice"}])
    if values["inference_id"] is not None:
        inference = queries.get_inference(session, caller, values["inference_id"])
        if inference.patient_id != values["patient_id"]:
            raise NotFound


def set_profile(session: Session, caller: Caller, patient_id: UUID, **values: Any) -> PatientProfile:
    """Say what the models must know of a patient; raises NotFound, ValidationFailed for a limit that does not exist.

    Oxygen and consciousness count from now, as entered now: the models forget them after a time.
    """
    if not caller.sees(patient_id):
        raise NotFound
    try:
        with_overrides(ALL_LIMITS, values["limits"])
    except ValueError as error:
        raise ValidationFailed(details=[{"field": "limits", "issue": "choice"}]) from error
    now = datetime.now(UTC)
    for name in ("on_oxygen", "consciousness"):
        values[f"{name}_at"] = None if values[name] is None else now
    statement = select(PatientProfile).where(
        PatientProfile.org_id == caller.org_id, PatientProfile.patient_id == patient_id
    )
    profile = session.scalar(statement)
    if profile is None:
        profile = PatientProfile(org_id=caller.org_id, patient_id=patient_id, **values)
        session.add(profile)
        changed = sorted(values)
    else:
        changed = change(profile, values)
    record(session, caller, "patient_profile.set", profile, changed)
    return profile
