"""Wire shapes of the alert service."""

from alert_service.models import CHANNELS, LEVELS, OUTCOMES, SOURCES, STATUSES
from common import fields
from common.pagination import PageFilter

_CODE = r"^[A-Z][A-Z0-9_]*\Z"


def _code(**options) -> fields.Text:
    return fields.Text(max_length=40, pattern=_CODE, **options)


def _note(**options) -> fields.Text:
    return fields.Text(max_length=1000, **options)


class Location(fields.Schema):
    """Where somebody is: WGS 84 degrees."""

    latitude = fields.Number(-90, 90, required=True)
    longitude = fields.Number(-180, 180, required=True)


class AlertIn(fields.Schema):
    """An alert to raise by hand; without a level it takes its type's default."""

    patient_id = fields.Uuid(required=True)
    type = _code(required=True)
    level = fields.Choice(LEVELS, load_default=None, allow_none=True)
    observed_at = fields.DateTime(load_default=None, allow_none=True)
    stream_id = fields.Uuid(load_default=None, allow_none=True)
    device_id = fields.Uuid(load_default=None, allow_none=True)
    location = fields.Nested(Location, load_default=None, allow_none=True)
    note = _note(load_default=None, allow_none=True)


class AlertOut(fields.Schema):
    """An alert."""

    id = fields.Uuid()
    org_id = fields.Uuid()
    patient_id = fields.Uuid()
    type = _code()
    level = fields.Choice(LEVELS)
    status = fields.Choice(STATUSES)
    source = fields.Choice(SOURCES)
    inference_id = fields.Uuid(allow_none=True)
    episode_id = fields.Uuid(allow_none=True)
    stream_id = fields.Uuid(allow_none=True)
    device_id = fields.Uuid(allow_none=True)
    model = fields.Text(max_length=120, allow_none=True)
    duplicate_of = fields.Uuid(allow_none=True)
    location = fields.Nested(Location, allow_none=True)
    observed_at = fields.DateTime()
    detected_at = fields.DateTime()
    paged_at = fields.DateTime(allow_none=True)
    episode_over_at = fields.DateTime(allow_none=True)
    assigned_to = fields.Uuid(allow_none=True)
    escalations = fields.Integer()
    escalate_at = fields.DateTime(allow_none=True)
    shelved_until = fields.DateTime(allow_none=True)
    note = _note(allow_none=True)
    created_at = fields.DateTime()
    updated_at = fields.DateTime()


class AlertFilter(PageFilter):
    """Search by state and level (each may be repeated), type, patient, and time of observation (from <= t < to)."""

    status = fields.ListOf(fields.Choice(STATUSES), max_items=len(STATUSES), load_default=None)
    level = fields.ListOf(fields.Choice(LEVELS), max_items=len(LEVELS), load_default=None)
    type = _code(load_default=None)
    patient = fields.Uuid(load_default=None)
    since = fields.DateTime(data_key="from", load_default=None)
    until = fields.DateTime(data_key="to", load_default=None)


class StepIn(fields.Schema):
    """A step that needs no more than a word about it."""

    note = _note(load_default=None, allow_none=True)


class AssignmentIn(StepIn):
    """Who becomes responsible."""

    user_id = fields.Uuid(required=True)


class ResolutionIn(StepIn):
    """How the alert ended; without an outcome nobody has judged it."""

    outcome = fields.Choice(OUTCOMES, load_default=None, allow_none=True)


class EscalationIn(StepIn):
    """A higher level, or none to page again at the same."""

    level = fields.Choice(LEVELS, load_default=None, allow_none=True)


class ShelvingIn(fields.Schema):
    """For how many minutes, and why."""

    minutes = fields.Integer(1, 7 * 24 * 60, required=True)
    note = _note(required=True)


class TimelineStepOut(fields.Schema):
    """One step of an alert's life; `delay_s` counts from the observation."""

    step = fields.Text(max_length=40)
    at = fields.DateTime()
    delay_s = fields.Number()
    actor = fields.Text(max_length=160)
    details = fields.Mapping(fields.Text())
    note = _note(allow_none=True)


def _channels(minimum: int = 0) -> fields.ListOf:
    return fields.ListOf(fields.Choice(CHANNELS), max_items=len(CHANNELS), min_items=minimum, required=True)


def _minutes() -> fields.Integer:
    return fields.Integer(1, 7 * 24 * 60, load_default=None, allow_none=True)


class ChannelsByLevel(fields.Schema):
    """Through which channels each level is told; high and critical need one at least."""

    medium = _channels()
    high = _channels(1)
    critical = _channels(1)


class MinutesByLevel(fields.Schema):
    """After how many minutes without acknowledgement each level escalates; null: never."""

    medium = _minutes()
    high = _minutes()
    critical = _minutes()


class PolicyIn(fields.Schema):
    """How the organisation is told, about one alert type or (without one) about all."""

    alert_type = _code(load_default=None, allow_none=True)
    channels = fields.Nested(ChannelsByLevel, required=True)
    escalation_minutes = fields.Nested(MinutesByLevel, required=True)
    hold_off_minutes = fields.Integer(0, 24 * 60, required=True)
    max_escalations = fields.Integer(0, 20, required=True)
    max_shelve_minutes = fields.Integer(1, 7 * 24 * 60, required=True)


class PolicyOut(PolicyIn):
    """A policy; without an `org_id` it is the suite's default."""

    id = fields.Uuid()
    org_id = fields.Uuid(allow_none=True)
    created_at = fields.DateTime()
    updated_at = fields.DateTime()


class CatalogueEntryOut(fields.Schema):
    """A code and its words; `position` orders, and ranks where there is a rank."""

    code = fields.Text(max_length=40)
    label_es = fields.Text(max_length=80)
    label_en = fields.Text(max_length=80)
    position = fields.Integer()


class AlertTypeOut(CatalogueEntryOut):
    """An alert type and its levels."""

    default_level = fields.Choice(LEVELS)
    min_level = fields.Choice(LEVELS)
    max_level = fields.Choice(LEVELS)
