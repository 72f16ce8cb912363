"""Wire shapes of the device service."""

from common import fields
from common.pagination import PageFilter
from device_service.models import HEALTH_STATUSES, SIGNAL_UNITS

NAME = r"^[A-Za-z][A-Za-z0-9_.-]*\Z"
PRINTABLE = r"^[^\x00-\x1f\x7f]*\Z"


class DeviceTypeIn(fields.Schema):
    """A device type of the organisation's own."""

    code = fields.Text(max_length=40, pattern=r"^[A-Z][A-Z0-9_]*\Z", required=True)
    name = fields.Text(max_length=120, required=True)
    signal_types = fields.ListOf(fields.Choice(SIGNAL_UNITS), min_items=1, max_items=10, required=True)


class DeviceTypeOut(DeviceTypeIn):
    """A device type; without `org_id` it is shared by all organisations."""

    id = fields.Uuid()
    org_id = fields.Uuid(allow_none=True)


class DeviceIn(fields.Schema):
    """A device to register; `type` is the code of a device type."""

    serial = fields.Text(max_length=80, required=True)
    type = fields.Text(max_length=40, required=True)
    brand = fields.Text(max_length=80, load_default=None, allow_none=True)
    model = fields.Text(max_length=80, load_default=None, allow_none=True)
    active = fields.Boolean(load_default=True)


class DeviceChange(fields.Schema):
    """What to change of a device; absent fields stay."""

    type = fields.Text(max_length=40)
    brand = fields.Text(max_length=80, allow_none=True)
    model = fields.Text(max_length=80, allow_none=True)
    active = fields.Boolean()


class DeviceOut(fields.Schema):
    """A device."""

    id = fields.Uuid()
    org_id = fields.Uuid()
    serial = fields.Text()
    type = fields.Text()
    brand = fields.Text(allow_none=True)
    model = fields.Text(allow_none=True)
    active = fields.Boolean()
    created_at = fields.DateTime()
    updated_at = fields.DateTime()


class PairingCodeOut(fields.Schema):
    """A code to read to the device; it is shown this once."""

    code = fields.Text()
    expires_at = fields.DateTime()


class DeviceFilter(PageFilter):
    """Search by serial, by type, or by whether it is active."""

    serial = fields.Text(max_length=80, load_default=None)
    type = fields.Text(max_length=40, load_default=None)
    active = fields.Boolean(load_default=None)


class AssignmentIn(fields.Schema):
    """A patient to put a device on; from now on unless `starts_at` says otherwise."""

    patient_id = fields.Uuid(required=True)
    starts_at = fields.DateTime(load_default=None, allow_none=True)
    ends_at = fields.DateTime(load_default=None, allow_none=True)


class AssignmentEnd(fields.Schema):
    """When an assignment or a stream ends: now, unless it says otherwise."""

    ended_at = fields.DateTime(load_default=None, allow_none=True)


class AssignmentOut(fields.Schema):
    """A device on a patient for a time."""

    id = fields.Uuid()
    device_id = fields.Uuid()
    patient_id = fields.Uuid()
    starts_at = fields.DateTime()
    ends_at = fields.DateTime(allow_none=True)


class HealthIn(fields.Schema):
    """What a device says about its own state."""

    status = fields.Choice(HEALTH_STATUSES, required=True)
    battery_percent = fields.Integer(0, 100, load_default=None, allow_none=True)
    signal_dbm = fields.Integer(-200, 50, load_default=None, allow_none=True)
    firmware = fields.Text(max_length=40, load_default=None, allow_none=True)
    note = fields.Text(max_length=200, load_default=None, allow_none=True)
    reported_at = fields.DateTime(load_default=None, allow_none=True)


class HealthOut(HealthIn):
    """A report of a device's state."""

    id = fields.Uuid()
    device_id = fields.Uuid()


class StreamIn(fields.Schema):
    """A stream to open on the patient to whom the device is assigned; `unit` defaults to the signal's usual one."""

    signal_type = fields.Choice(SIGNAL_UNITS, required=True)
    sample_rate_hz = fields.Number(0.001, 100_000, required=True)
    unit = fields.Text(max_length=20, load_default=None, allow_none=True)
    channel = fields.Text(max_length=40, min_length=0, pattern=PRINTABLE, load_default="")
    patient_id = fields.Uuid(load_default=None, allow_none=True)
    started_at = fields.DateTime(load_default=None, allow_none=True)


class StreamOut(fields.Schema):
    """A signal stream."""

    id = fields.Uuid()
    org_id = fields.Uuid()
    device_id = fields.Uuid()
    patient_id = fields.Uuid()
    signal_type = fields.Choice(SIGNAL_UNITS)
    channel = fields.Text()
    unit = fields.Text()
    sample_rate_hz = fields.Number()
    started_at = fields.DateTime()
    ended_at = fields.DateTime(allow_none=True)


class StreamFilter(PageFilter):
    """Search streams by patient, signal, or whether they still run."""

    patient_id = fields.Uuid(load_default=None)
    signal_type = fields.Choice(SIGNAL_UNITS, load_default=None)
    open = fields.Boolean(load_default=None)


class BindingIn(fields.Schema):
    """Where to keep a stream's samples; `measurement` defaults to the signal type in small letters."""

    bucket = fields.Text(max_length=64, pattern=NAME, load_default="heartguard_signals")
    measurement = fields.Text(max_length=64, pattern=NAME, load_default=None, allow_none=True)
    tags = fields.Mapping(fields.Text(max_length=200, pattern=PRINTABLE), max_items=8, load_default=dict)


class BindingOut(fields.Schema):
    """A binding with all that is needed to write and read the stream's samples."""

    id = fields.Uuid()
    org_id = fields.Uuid()
    stream_id = fields.Uuid()
    device_id = fields.Uuid(attribute="stream.device_id")
    patient_id = fields.Uuid(attribute="stream.patient_id")
    signal_type = fields.Choice(SIGNAL_UNITS, attribute="stream.signal_type")
    channel = fields.Text(attribute="stream.channel")
    unit = fields.Text(attribute="stream.unit")
    sample_rate_hz = fields.Number(attribute="stream.sample_rate_hz")
    started_at = fields.DateTime(attribute="stream.started_at")
    ended_at = fields.DateTime(attribute="stream.ended_at", allow_none=True)
    bucket = fields.Text()
    measurement = fields.Text()
    tags = fields.Mapping(fields.Text())
