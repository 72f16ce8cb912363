"""Endpoints of the inference service."""

from common.api import Api, page_of
from common.outbox import record
from common.pagination import PageFilter
from common.permissions import Permission as P
from inference_service import actions, queries, windows
from inference_service.schemas import (
    EventTypeIn,
    EventTypeOut,
    GroundTruthFilter,
    GroundTruthIn,
    GroundTruthOut,
    InferenceFilter,
    InferenceOut,
    ModelIn,
    ModelOut,
    ProfileIn,
    ProfileOut,
    RunIn,
    RunOut,
    StageIn,
    VersionIn,
    VersionOut,
)

api = Api("inference")
patients = Api("inference about patients", care=True)


@api.post("/models", permission=P.MODEL_MANAGE, body=ModelIn, returns=ModelOut, creates="/models/{id}")
def create_model(session, caller, body):
    """Add a model to the organisation."""
    return actions.create_model(session, caller, **body)


@api.get("/models", permission=P.INFERENCE_READ, query=PageFilter, returns=page_of(ModelOut))
def list_models(session, caller, query):
    """List the built-in models and the organisation's own."""
    return queries.find_models(session, caller, **query)


@api.get("/models/{model_id}", permission=P.INFERENCE_READ, returns=ModelOut)
def get_model(session, caller, model_id):
    """Get one model."""
    return queries.get_model(session, caller, model_id)


@api.put("/models/{model_id}", permission=P.MODEL_MANAGE, body=ModelIn, returns=ModelOut)
def change_model(session, caller, model_id, body):
    """Rename or describe a model of the organisation."""
    return actions.change_model(session, caller, model_id, **body)


@api.delete("/models/{model_id}", permission=P.MODEL_MANAGE)
def remove_model(session, caller, model_id):
    """Remove a model none of whose versions was validated."""
    actions.remove_model(session, caller, model_id)


@api.post(
    "/models/{model_id}/versions",
    permission=P.MODEL_MANAGE,
    body=VersionIn,
    returns=VersionOut,
    creates="/models/{model_id}/versions/{version}",
)
def create_version(session, caller, model_id, body):
    """Register a version of a model of the organisation."""
    return actions.create_version(session, caller, model_id, **body)


@api.get("/models/{model_id}/versions", permission=P.INFERENCE_READ, query=PageFilter, returns=page_of(VersionOut))
def list_versions(session, caller, model_id, query):
    """List the versions of a model."""
    return queries.find_versions(session, caller, model_id, **query)


@api.get("/models/{model_id}/versions/{version}", permission=P.INFERENCE_READ, returns=VersionOut)
def get_version(session, caller, model_id, version):
    """Get one version of a model: its inputs, limits and what it reached."""
    return queries.get_version(session, caller, model_id, version)


@api.put("/models/{model_id}/versions/{version}/stage", permission=P.MODEL_MANAGE, body=StageIn, returns=VersionOut)
def set_stage(session, caller, model_id, version, body):
    """Put a version into shadow, into production, or out of use, in this organisation."""
    return actions.set_stage(session, caller, model_id, version, **body)


@api.post(
    "/event-types", permission=P.MODEL_MANAGE, body=EventTypeIn, returns=EventTypeOut, creates="/event-types/{id}"
)
def create_event_type(session, caller, body):
    """Add an event type to the organisation."""
    return actions.create_event_type(session, caller, **body)


@api.get("/event-types", permission=P.INFERENCE_READ, query=PageFilter, returns=page_of(EventTypeOut))
def list_event_types(session, caller, query):
    """List the built-in event types and the organisation's own."""
    return queries.find_event_types(session, caller, **query)


@api.get("/event-types/{event_type_id}", permission=P.INFERENCE_READ, returns=EventTypeOut)
def get_event_type(session, caller, event_type_id):
    """Get one event type."""
    return queries.get_event_type(session, caller, event_type_id)


@api.put("/event-types/{event_type_id}", permission=P.MODEL_MANAGE, body=EventTypeIn, returns=EventTypeOut)
def change_event_type(session, caller, event_type_id, body):
    """Replace an event type of the organisation."""
    return actions.change_event_type(session, caller, event_type_id, **body)


@api.delete("/event-types/{event_type_id}", permission=P.MODEL_MANAGE)
def remove_event_type(session, caller, event_type_id):
    """Remove an event type of the organisation."""
    actions.remove_event_type(session, caller, event_type_id)


def judge_window(database, client, caller, body):
    """What the models say of the window."""
    return windows.judge_once(database, client, caller, **body)


@patients.post("/inferences", permission=P.INFERENCE_WRITE, body=RunIn, returns=RunOut, prepare=judge_window)
def run_inference(session, caller, prepared):
    """Judge one window of a stream now; it is stored and raises no alarm."""
    return windows.store_once(session, caller, *prepared)


@patients.get("/inferences", permission=P.INFERENCE_READ, query=InferenceFilter, returns=page_of(InferenceOut))
def list_inferences(session, caller, query):
    """List the stored inferences: transitions, and one a minute."""
    page = queries.find_inferences(session, caller, **query)
    record(session, caller, "inference.listed", "inferences", {"count": len(page.items)})
    return page


@patients.get("/inferences/{inference_id}", permission=P.INFERENCE_READ, returns=InferenceOut)
def get_inference(session, caller, inference_id):
    """Get one inference with its explanation."""
    inference = queries.get_inference(session, caller, inference_id)
    record(session, caller, "inference.read", inference)
    return inference


@patients.post(
    "/ground-truth",
    permission=P.INFERENCE_WRITE,
    body=GroundTruthIn,
    returns=GroundTruthOut,
    creates="/ground-truth/{id}",
)
def label_event(session, caller, body):
    """Say what really happened to a patient."""
    return actions.label_event(session, caller, **body)


@patients.get("/ground-truth", permission=P.INFERENCE_READ, query=GroundTruthFilter, returns=page_of(GroundTruthOut))
def list_labels(session, caller, query):
    """List the ground-truth labels."""
    page = queries.find_labels(session, caller, **query)
    record(session, caller, "ground_truth.listed", "ground_truth_labels", {"count": len(page.items)})
    return page


@patients.get("/ground-truth/{label_id}", permission=P.INFERENCE_READ, returns=GroundTruthOut)
def get_label(session, caller, label_id):
    """Get one ground-truth label."""
    label = queries.get_label(session, caller, label_id)
    record(session, caller, "ground_truth.read", label)
    return label


@patients.put("/ground-truth/{label_id}", permission=P.INFERENCE_WRITE, body=GroundTruthIn, returns=GroundTruthOut)
def change_label(session, caller, label_id, body):
    """Replace a ground-truth label."""
    return actions.change_label(session, caller, label_id, **body)


@patients.delete("/ground-truth/{label_id}", permission=P.INFERENCE_WRITE)
def remove_label(session, caller, label_id):
    """Remove a ground-truth label."""
    actions.remove_label(session, caller, label_id)


@patients.put("/inference-profiles/{patient_id}", permission=P.INFERENCE_WRITE, body=ProfileIn, returns=ProfileOut)
def set_profile(session, caller, patient_id, body):
    """Say what the models must know of a patient: SpO2 scale, oxygen, known AF, pacemaker, own limits."""
    return actions.set_profile(session, caller, patient_id, **body)


@patients.get("/inference-profiles/{patient_id}", permission=P.INFERENCE_READ, returns=ProfileOut)
def get_profile(session, caller, patient_id):
    """Get what the models know of a patient."""
    profile = queries.get_profile(session, caller, patient_id)
    record(session, caller, "patient_profile.read", profile)
    return profile
