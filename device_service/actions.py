"""Writes of the device service: one transaction each, with its audit event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from common.auth import Caller
from common.errors import Conflict, NotFound, ValidationFailed
from common.http import InternalClient
from common.outbox import record
from common.permissions import Permission
from device_service import queries
from device_service.errors import (
    AssignmentOverlaps,
    DeviceInactive,
    DeviceNotAssigned,
    SharedDeviceType,
    SignalNotOffered,
    StreamHasEnded,
    TimesOutOfOrder,
    UnknownDeviceType,
    UnknownPatient,
)
from device_service.events import DeviceWithdrawn, SignalStreamBound, SignalStreamEnded
from device_service.models import (
    RESERVED_TAGS,
    SIGNAL_UNITS,
    Device,
    DeviceAssignment,
    DeviceHealth,
    DeviceType,
    SignalStream,
    TimeseriesBinding,
    TimeseriesBindingTag,
)

_INSTANT = timedelta(microseconds=1)


def create_device_type(session: Session, caller: Caller, code: str, name: str, signal_types: list[str]) -> DeviceType:
    """Create a device type of the organisation's own; raises Conflict for a code in use, shared ones included."""
    if _find_type(session, caller, code):
        raise Conflict
    kind = DeviceType(org_id=caller.org_id, code=code, name=name, signal_types=signal_types)
    session.add(kind)
    record(session, caller, "device_type.created", kind)
    return kind


def change_device_type(
    session: Session, caller: Caller, device_type_id: UUID, code: str, name: str, signal_types: list[str]
) -> DeviceType:
    """Replace a device type of the organisation's own; raises NotFound, SharedDeviceType, Conflict."""
    kind = _own_type(session, caller, device_type_id)
    if code != kind.code and _find_type(session, caller, code):
        raise Conflict
    kind.code, kind.name, kind.signal_types = code, name, signal_types
    record(session, caller, "device_type.changed", kind)
    return kind


def remove_device_type(session: Session, caller: Caller, device_type_id: UUID) -> None:
    """Remove a device type of the organisation's own that no device has; raises NotFound, SharedDeviceType."""
    kind = _own_type(session, caller, device_type_id)
    session.delete(kind)
    record(session, caller, "device_type.removed", kind)


def _own_type(session: Session, caller: Caller, device_type_id: UUID) -> DeviceType:
    kind = queries.get_device_type(session, caller, device_type_id)
    if kind.org_id is None:
        raise SharedDeviceType
    return kind


def _find_type(session: Session, caller: Caller, code: str) -> DeviceType | None:
    return session.scalar(queries.visible_device_types(caller).where(DeviceType.code == code))


def _type_of(session: Session, caller: Caller, code: str) -> DeviceType:
    kind = _find_type(session, caller, code)
    if kind is None:
        raise UnknownDeviceType
    return kind


def register_device(session: Session, caller: Caller, type: str, **values: Any) -> Device:
    """Register a device; raises UnknownDeviceType; a serial in use is a conflict."""
    device = Device(org_id=caller.org_id, device_type=_type_of(session, caller, type), **values)
    session.add(device)
    record(session, caller, "device.registered", device, {"type": type})
    return device


def change_device(session: Session, caller: Caller, device_id: UUID, **values: Any) -> Device:
    """Change some fields of a device; raises NotFound, UnknownDeviceType."""
    device = queries.get_device(session, caller, device_id)
    if "type" in values:
        values["device_type"] = _type_of(session, caller, values.pop("type"))
    was_active = device.active
    changed = device.change(**values)
    gone = [DeviceWithdrawn(device_id=device.id)] if was_active and not device.active else []
    record(session, caller, "device.changed", device, changed, publish=gone)
    return device


def remove_device(session: Session, caller: Caller, device_id: UUID) -> None:
    """Remove a device that never had a stream; raises NotFound; one with streams is a conflict: deactivate it."""
    device = queries.get_device(session, caller, device_id)
    session.delete(device)
    record(session, caller, "device.removed", device, publish=DeviceWithdrawn(device_id=device.id))


def check_patient(client: InternalClient, caller: Caller, patient_id: UUID) -> None:
    """Make sure that a patient is there, because a device on the wrong one harms; raises UnknownPatient."""
    if not caller.sees(patient_id):
        raise UnknownPatient
    try:
        client.get(caller, "patient", f"/patients/{patient_id}", permissions=[Permission.PATIENT_READ])
    except NotFound as error:
        raise UnknownPatient from error


def assign_device(
    session: Session,
    caller: Caller,
    device_id: UUID,
    patient_id: UUID,
    starts_at: datetime | None,
    ends_at: datetime | None,
) -> DeviceAssignment:
    """Put a device on a patient for a time; raises NotFound, DeviceInactive, TimesOutOfOrder, AssignmentOverlaps."""
    device = queries.get_device(session, caller, device_id, lock=True)
    if not device.active:
        raise DeviceInactive
    starts_at = starts_at or datetime.now(UTC)
    if ends_at is not None and ends_at <= starts_at:
        raise TimesOutOfOrder
    if queries.find_overlapping_assignment(session, device.id, starts_at, ends_at):
        raise AssignmentOverlaps
    assignment = DeviceAssignment(
        org_id=device.org_id, device_id=device.id, patient_id=patient_id, starts_at=starts_at, ends_at=ends_at
    )
    session.add(assignment)
    record(session, caller, "device.assigned", device, {"patient_id": str(patient_id)})
    return assignment


def end_assignment(
    session: Session, caller: Caller, device_id: UUID, assignment_id: UUID, ended_at: datetime | None
) -> DeviceAssignment:
    """Take a device off a patient, and end the streams it has open on them; raises NotFound, TimesOutOfOrder.

    An assignment that has an end keeps the earlier one.
    """
    device = queries.get_device(session, caller, device_id, lock=True)
    assignment = queries.get_assignment(session, caller, device_id, assignment_id)
    ended_at = ended_at or datetime.now(UTC)
    if ended_at <= assignment.starts_at:
        raise TimesOutOfOrder
    assignment.ends_at = min(ended_at, assignment.ends_at or ended_at)
    streams = queries.find_open_streams(session, device.id, assignment.patient_id)
    for stream in streams:
        stream.end(max(assignment.ends_at, stream.started_at + _INSTANT))
    record(
        session,
        caller,
        "device.unassigned",
        device,
        {"patient_id": str(assignment.patient_id), "streams_ended": len(streams)},
        publish=[_ended(stream) for stream in streams],
    )
    return assignment


def report_health(session: Session, caller: Caller, device_id: UUID, **values: Any) -> DeviceHealth:
    """Note what a device says about its own state; raises NotFound."""
    device = queries.get_device(session, caller, device_id)
    values["reported_at"] = values["reported_at"] or datetime.now(UTC)
    health = DeviceHealth(org_id=device.org_id, device_id=device.id, **values)
    session.add(health)
    record(session, caller, "device.health_reported", device, {"status": health.status})
    return health


def open_stream(
    session: Session,
    caller: Caller,
    device_id: UUID,
    signal_type: str,
    sample_rate_hz: float,
    unit: str | None,
    channel: str,
    patient_id: UUID | None,
    started_at: datetime | None,
) -> SignalStream:
    """Open a stream on the patient who has the device; the same signal and channel open twice is a conflict.

    Raises ValidationFailed, NotFound, DeviceInactive, SignalNotOffered, DeviceNotAssigned.
    """
    if round(sample_rate_hz, 3) != sample_rate_hz:
        raise ValidationFailed(details=[{"field": "sample_rate_hz", "issue": "format"}])
    device = queries.get_device(session, caller, device_id, lock=True)
    if not device.active:
        raise DeviceInactive
    if signal_type not in device.device_type.signal_types:
        raise SignalNotOffered(signal=signal_type)
    started_at = started_at or datetime.now(UTC)
    assigned = queries.find_assigned_patient(session, device.id, started_at)
    if assigned is None or patient_id not in (None, assigned) or not caller.sees(assigned):
        raise DeviceNotAssigned
    stream = SignalStream(
        org_id=device.org_id,
        device_id=device.id,
        patient_id=assigned,
        signal_type=signal_type,
        channel=channel,
        unit=unit or SIGNAL_UNITS[signal_type],
        sample_rate_hz=round(Decimal(sample_rate_hz), 3),
        started_at=started_at,
    )
    session.add(stream)
    record(session, caller, "signal_stream.opened", stream, {"signal_type": signal_type})
    return stream


def end_stream(session: Session, caller: Caller, stream_id: UUID, ended_at: datetime | None) -> SignalStream:
    """End a stream; raises NotFound, StreamHasEnded, TimesOutOfOrder."""
    stream = _open_stream(session, caller, stream_id)
    ended_at = ended_at or datetime.now(UTC)
    if ended_at <= stream.started_at:
        raise TimesOutOfOrder
    record(session, caller, "signal_stream.ended", stream, stream.end(ended_at), publish=_ended(stream))
    return stream


def bind_stream(
    session: Session, caller: Caller, stream_id: UUID, bucket: str, measurement: str | None, tags: dict[str, str]
) -> TimeseriesBinding:
    """Say where a stream's samples are kept, and tell everybody who listens for it.

    Raises NotFound, ValidationFailed, StreamHasEnded; the same place twice is a conflict.
    """
    unfit = sorted(key for key in tags if key in RESERVED_TAGS or key.startswith("_"))
    if unfit:
        raise ValidationFailed(details=[{"field": f"tags.{key}", "issue": "choice"} for key in unfit])
    stream = _open_stream(session, caller, stream_id)
    binding = TimeseriesBinding(
        org_id=stream.org_id,
        stream=stream,
        bucket=bucket,
        measurement=measurement or stream.signal_type.lower(),
        binding_tags=[TimeseriesBindingTag(org_id=stream.org_id, key=key, value=tags[key]) for key in sorted(tags)],
    )
    session.add(binding)
    session.flush()
    bound = SignalStreamBound(
        binding_id=binding.id,
        stream_id=stream.id,
        device_id=stream.device_id,
        patient_id=stream.patient_id,
        signal_type=stream.signal_type,
        channel=stream.channel,
        unit=stream.unit,
        sample_rate_hz=float(stream.sample_rate_hz),
        bucket=bucket,
        measurement=binding.measurement,
        tags=binding.tags,
        started_at=stream.started_at,
    )
    record(session, caller, "signal_stream.bound", stream, {"bucket": bucket}, publish=bound)
    return binding


def _open_stream(session: Session, caller: Caller, stream_id: UUID) -> SignalStream:
    stream = queries.get_stream(session, caller, stream_id, lock=True)
    if stream.ended_at is not None:
        raise StreamHasEnded
    return stream


def _ended(stream: SignalStream) -> SignalStreamEnded:
    assert stream.ended_at is not None
    return SignalStreamEnded(
        stream_id=stream.id,
        device_id=stream.device_id,
        patient_id=stream.patient_id,
        signal_type=stream.signal_type,
        ended_at=stream.ended_at,
    )
