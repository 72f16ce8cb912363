"""Wire shapes of the inference service."""

from common import fields
from common.pagination import PageFilter
from inference_service.models import CONSCIOUSNESS, LEVELS, RUNTIMES, STAGES, STATUSES

SEMVER = r"^\d{1,5}\.\d{1,5}\.\d{1,5}(-[0-9A-Za-z.-]{1,12})?\Z"
CODE = r"^[A-Z][A-Z0-9_]{1,39}\Z"
COMPARISONS = (">=", "<=", ">", "<")


class ModelIn(fields.Schema):
    """A model of the organisation."""

    name = fields.Text(max_length=60, required=True)
    description = fields.Text(max_length=500, min_length=0, load_default="")


class ModelOut(fields.Schema):
    """A model; built in when it has no organisation."""

    id = fields.Uuid()
    org_id = fields.Uuid(allow_none=True)
    name = fields.Text()
    description = fields.Text()
    created_at = fields.DateTime()


class SignalInput(fields.Schema):
    """A signal that a model takes; a sample older than `max_age_s` counts as missing."""

    signal = fields.Text(max_length=10, required=True)
    unit = fields.Text(max_length=20, required=True)
    min_rate_hz = fields.Number(0, 100_000, required=True)
    max_rate_hz = fields.Number(0, 100_000, required=True)
    max_age_s = fields.Number(0, 10 * 86_400, required=True)
    channel = fields.Text(max_length=40, min_length=0, load_default="")


class LimitRow(fields.Schema):
    """Which value of which metric is which level of which event, and for how long it must hold or be gone."""

    event_type = fields.Text(max_length=40, required=True)
    condition = fields.Text(max_length=40, required=True)
    level = fields.Choice(LEVELS, required=True)
    metric = fields.Text(max_length=40, required=True)
    comparison = fields.Choice(COMPARISONS, required=True)
    value = fields.Number(required=True)
    persists_s = fields.Number(0, 86_400)
    persists_readings = fields.Integer(1, 100)
    clears_at = fields.Number(allow_none=True)
    clears_s = fields.Number(0, 86_400)
    gap_s = fields.Number(0, 10 * 86_400)
    spo2_scale = fields.Integer(1, 2, allow_none=True)
    enabled = fields.Boolean()
    source = fields.Text(max_length=200)


class Metric(fields.Schema):
    """What a version reached on a data set."""

    dataset = fields.Text(max_length=60, required=True)
    split = fields.Text(max_length=60)
    n = fields.Integer(1)
    sensitivity = fields.Number(0, 1)
    ppv = fields.Number(0, 1)
    false_alarms_per_patient_day = fields.Number(0)
    time_to_alarm_p50_s = fields.Number(0)
    time_to_alarm_p95_s = fields.Number(0)


class VersionIn(fields.Schema):
    """A version of a model of the organisation."""

    version = fields.Text(max_length=30, pattern=SEMVER, required=True, attribute="semver")
    runtime = fields.Choice(RUNTIMES, required=True)
    entry_point = fields.Text(max_length=200, required=True)
    sha256 = fields.Text(max_length=64, pattern=r"^[0-9a-f]{64}\Z", required=True)
    inputs = fields.ListOf(fields.Nested(SignalInput), max_items=20, min_items=1, required=True)
    window_s = fields.Number(0.001, 3600, required=True)
    step_s = fields.Number(0.001, 3600, required=True)
    guard_s = fields.Number(0, 60, load_default=0)
    min_quality = fields.Number(0, 1, load_default=0)
    events = fields.ListOf(fields.Text(max_length=40, pattern=CODE), max_items=20, min_items=1, required=True)
    limits = fields.ListOf(fields.Nested(LimitRow), max_items=200, load_default=list)
    metrics = fields.ListOf(fields.Nested(Metric), max_items=50, load_default=list)


class VersionOut(fields.Schema):
    """A version, with its stage in the caller's organisation."""

    id = fields.Uuid()
    model_id = fields.Uuid()
    version = fields.Text(attribute="semver")
    runtime = fields.Choice(RUNTIMES)
    entry_point = fields.Text()
    sha256 = fields.Text()
    inputs = fields.ListOf(fields.Nested(SignalInput))
    window_s = fields.Number()
    step_s = fields.Number()
    guard_s = fields.Number()
    min_quality = fields.Number()
    events = fields.ListOf(fields.Text())
    limits = fields.ListOf(fields.Nested(LimitRow))
    metrics = fields.ListOf(fields.Nested(Metric))
    stage = fields.Choice(STAGES, attribute="effective_stage")
    validated_at = fields.DateTime(allow_none=True)
    approver = fields.Text(allow_none=True)
    created_at = fields.DateTime()


class StageIn(fields.Schema):
    """The stage to put a version in."""

    stage = fields.Choice(STAGES, required=True)


class EventTypeIn(fields.Schema):
    """An event type of the organisation."""

    code = fields.Text(max_length=40, pattern=CODE, required=True)
    name = fields.Text(max_length=120, required=True)
    default_level = fields.Choice(LEVELS, required=True)
    min_level = fields.Choice(LEVELS, required=True)
    max_level = fields.Choice(LEVELS, required=True)


class EventTypeOut(fields.Schema):
    """An event type; built in when it has no organisation."""

    id = fields.Uuid()
    org_id = fields.Uuid(allow_none=True)
    code = fields.Text()
    name = fields.Text()
    default_level = fields.Choice(LEVELS)
    min_level = fields.Choice(LEVELS)
    max_level = fields.Choice(LEVELS)


class ExplanationOut(fields.Schema):
    """Why: the limit crossed and what the model saw. NEWS2 says `parts missing partial`, ECG the rest."""

    metric = fields.Text(required=True)
    value = fields.Number(required=True)
    unit = fields.Text(required=True)
    limit = fields.Text(required=True)
    parts = fields.Mapping(fields.Integer())
    missing = fields.ListOf(fields.Text())
    partial = fields.Boolean()  # type: ignore[assignment]  # marshmallow takes the fields off the class
    quality = fields.Number(allow_none=True)
    confidence = fields.Text()
    heart_rate = fields.Number(allow_none=True)
    cosen = fields.Number(allow_none=True)
    channels = fields.ListOf(fields.Text())


class InferenceOut(fields.Schema):
    """One event type judged in one window."""

    id = fields.Uuid(required=True)
    org_id = fields.Uuid()
    patient_id = fields.Uuid()
    stream_id = fields.Uuid()
    device_id = fields.Uuid()
    model = fields.Text()
    model_version_id = fields.Uuid()
    event_type = fields.Text()
    window_start = fields.DateTime()
    window_end = fields.DateTime()
    status = fields.Choice(STATUSES)
    reason = fields.Text()
    level = fields.Choice(LEVELS, allow_none=True)
    score = fields.Number(allow_none=True)
    threshold = fields.Number(allow_none=True)
    quality = fields.Number(allow_none=True)
    explanation = fields.Nested(ExplanationOut, allow_none=True)
    created_at = fields.DateTime()


class InferenceFilter(PageFilter):
    """Search by patient, stream, event type, level, or the time of the window's end."""

    patient_id = fields.Uuid(load_default=None)
    stream_id = fields.Uuid(load_default=None)
    event_type = fields.Text(max_length=40, load_default=None)
    level = fields.Choice(LEVELS, load_default=None)
    from_time = fields.DateTime(data_key="from", load_default=None)
    to_time = fields.DateTime(data_key="to", load_default=None)


class RunIn(fields.Schema):
    """A stream to judge now, in the window that ends at `at` (default: where its samples end)."""

    stream_id = fields.Uuid(required=True)
    at = fields.DateTime(load_default=None, allow_none=True)


class RunOut(fields.Schema):
    """What the model answered; nothing crossed when an inference has no level. It raises no alarm."""

    status = fields.Choice(STATUSES)
    reason = fields.Text()
    quality = fields.Number(allow_none=True)
    inferences = fields.ListOf(fields.Nested(InferenceOut))


class GroundTruthIn(fields.Schema):
    """What really happened. `present` false says that an alarm was false."""

    patient_id = fields.Uuid(required=True)
    stream_id = fields.Uuid(load_default=None, allow_none=True)
    inference_id = fields.Uuid(load_default=None, allow_none=True)
    event_type = fields.Text(max_length=40, required=True)
    present = fields.Boolean(load_default=True)
    onset_at = fields.DateTime(required=True)
    ended_at = fields.DateTime(load_default=None, allow_none=True)
    note = fields.Text(max_length=500, load_default=None, allow_none=True)


class GroundTruthOut(fields.Schema):
    """A label."""

    id = fields.Uuid()
    org_id = fields.Uuid()
    patient_id = fields.Uuid()
    stream_id = fields.Uuid(allow_none=True)
    inference_id = fields.Uuid(allow_none=True)
    event_type = fields.Text()
    present = fields.Boolean()
    onset_at = fields.DateTime()
    ended_at = fields.DateTime(allow_none=True)
    note = fields.Text(allow_none=True)
    labelled_by = fields.Text()
    created_at = fields.DateTime()


class GroundTruthFilter(PageFilter):
    """Search by patient or event type."""

    patient_id = fields.Uuid(load_default=None)
    event_type = fields.Text(max_length=40, load_default=None)


class LimitOverride(fields.Schema):
    """A patient's own limit: the row it changes and the fields that differ."""

    event_type = fields.Text(max_length=40, required=True)
    condition = fields.Text(max_length=40, required=True)
    level = fields.Choice(LEVELS)
    value = fields.Number()
    persists_s = fields.Number(0, 86_400)
    persists_readings = fields.Integer(1, 100)
    clears_at = fields.Number(allow_none=True)
    clears_s = fields.Number(0, 86_400)
    gap_s = fields.Number(0, 10 * 86_400)
    enabled = fields.Boolean()


class ProfileIn(fields.Schema):
    """What the models must know of a patient. Oxygen and consciousness are dated when they are entered."""

    birthdate = fields.Date(load_default=None, allow_none=True)
    pregnant = fields.Boolean(load_default=False)
    spo2_scale = fields.Integer(1, 2, load_default=1)
    on_oxygen = fields.Boolean(load_default=None, allow_none=True)
    consciousness = fields.Choice(CONSCIOUSNESS, load_default=None, allow_none=True)
    known_af = fields.Boolean(load_default=False)
    pacemaker = fields.Boolean(load_default=False)
    symptoms = fields.Boolean(load_default=False)
    limits = fields.ListOf(fields.Nested(LimitOverride), max_items=50, load_default=list)


class ProfileOut(fields.Schema):
    """What the models know of a patient."""

    patient_id = fields.Uuid()
    birthdate = fields.Date(allow_none=True)
    pregnant = fields.Boolean()
    spo2_scale = fields.Integer()
    on_oxygen = fields.Boolean(allow_none=True)
    on_oxygen_at = fields.DateTime(allow_none=True)
    consciousness = fields.Choice(CONSCIOUSNESS, allow_none=True)
    consciousness_at = fields.DateTime(allow_none=True)
    known_af = fields.Boolean()
    pacemaker = fields.Boolean()
    symptoms = fields.Boolean()
    limits = fields.ListOf(fields.Nested(LimitOverride))
    updated_at = fields.DateTime()
