"""The built-in model versions as rows: made from the code that runs, once, and never changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid6 import uuid7

from common.database import ALL_ORGANIZATIONS, Database
from inference_service import builtin
from inference_service.builtin.limits import as_json
from inference_service.models import Model, ModelStage, ModelVersion

APPROVER = "heartguard"


@dataclass(frozen=True)
class RunningVersion:
    """The row of a version that runs here, and its name as events say it."""

    id: UUID
    label: str


@cache
def running_versions(database: Database) -> dict[str, RunningVersion]:
    """The version of each built-in model that this code is, by model name; registered when it is new."""
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        return {name: _register(session, name) for name in builtin.NAMES}


def _register(session: Session, name: str) -> RunningVersion:
    """One row for each text of the code: other code under the same version number gets a build suffix."""
    card, digest = builtin.load(name).MODEL, builtin.digest()
    model_id = session.scalars(select(Model.id).where(Model.org_id.is_(None), Model.name == name)).one()
    same_code = select(ModelVersion).where(
        ModelVersion.model_id == model_id,
        ModelVersion.sha256 == digest,
        ModelVersion.semver.in_([card.version, f"{card.version}+{digest[:8]}"]),
    )
    for semver in (card.version, f"{card.version}+{digest[:8]}"):
        values = {
            "id": uuid7(),
            "model_id": model_id,
            "semver": semver,
            "runtime": card.runtime,
            "entry_point": card.entry_point,
            "sha256": digest,
            "inputs": [asdict(item) for item in card.inputs],
            "window_s": card.window_s,
            "step_s": card.step_s,
            "guard_s": card.guard_s,
            "min_quality": card.min_quality,
            "events": list(card.events),
            "limits": as_json(card.limits),
            "metrics": [],
            "stage": "production",
            "validated_at": func.now(),
            "approver": APPROVER,
            "version": 1,
        }
        found = session.scalar(same_code)
        if found is None:
            session.execute(insert(ModelVersion).values(values).on_conflict_do_nothing())
            found = session.scalar(same_code)
        if found is not None:
            return RunningVersion(found.id, found.label)
    raise RuntimeError(f"model {name}: no version row for this code")


def stage_of(session: Session, version_id: UUID) -> str:
    """The stage of a built-in version in the transaction's organisation."""
    own = session.scalar(select(ModelStage.stage).where(ModelStage.model_version_id == version_id))
    return own or "production"
