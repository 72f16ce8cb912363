"""Reads of the device service, within the caller's organisation."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, false, func, or_, select
from sqlalchemy.orm import Session

from common.auth import Caller
from common.care import in_care
from common.database import get_one
from common.pagination import Page, paginate
from device_service.models import (
    Device,
    DeviceAssignment,
    DeviceHealth,
    DeviceType,
    SignalStream,
    TimeseriesBinding,
)


def visible_devices(caller: Caller) -> Select[Any]:
    """The organisation's devices; none for caregivers and patients, who do not handle them."""
    statement = select(Device).where(Device.org_id == caller.org_id)
    return statement.where(false()) if caller.sees_linked_patients_only else statement


def visible(model: Any, caller: Caller) -> Select[Any]:
    """The rows about patients whom the caller may see."""
    return select(model).where(model.org_id == caller.org_id, in_care(caller, model.patient_id))


def visible_device_types(caller: Caller) -> Select[Any]:
    """The shared device types and the organisation's own."""
    return select(DeviceType).where(or_(DeviceType.org_id.is_(None), DeviceType.org_id == caller.org_id))


def get_device_type(session: Session, caller: Caller, device_type_id: UUID) -> DeviceType:
    """One device type; raises NotFound."""
    return get_one(session, visible_device_types(caller).where(DeviceType.id == device_type_id))


def find_device_types(session: Session, caller: Caller, limit: int, cursor: str | None) -> Page:
    """The device types that the organisation can use, newest first."""
    return paginate(session, visible_device_types(caller), DeviceType.id, limit, cursor)


def get_device(session: Session, caller: Caller, device_id: UUID, *, lock: bool = False) -> Device:
    """One device, locked against concurrent changes on demand; raises NotFound."""
    statement = visible_devices(caller).where(Device.id == device_id)
    return get_one(session, statement.with_for_update(of=Device) if lock else statement)


def find_devices(
    session: Session,
    caller: Caller,
    limit: int,
    cursor: str | None,
    serial: str | None = None,
    type: str | None = None,
    active: bool | None = None,
) -> Page:
    """The organisation's devices, newest first."""
    statement = visible_devices(caller)
    if serial is not None:
        statement = statement.where(Device.serial == serial)
    if type is not None:
        statement = statement.where(Device.device_type.has(DeviceType.code == type))
    if active is not None:
        statement = statement.where(Device.active == active)
    return paginate(session, statement, Device.id, limit, cursor)


def find_assignments(session: Session, caller: Caller, device_id: UUID, limit: int, cursor: str | None) -> Page:
    """The assignments of a device, newest first; raises NotFound."""
    device = get_device(session, caller, device_id)
    statement = visible(DeviceAssignment, caller).where(DeviceAssignment.device_id == device.id)
    return paginate(session, statement, DeviceAssignment.id, limit, cursor)


def get_assignment(session: Session, caller: Caller, device_id: UUID, assignment_id: UUID) -> DeviceAssignment:
    """One assignment of a device; raises NotFound."""
    statement = visible(DeviceAssignment, caller).where(
        DeviceAssignment.id == assignment_id, DeviceAssignment.device_id == device_id
    )
    return get_one(session, statement)


def find_overlapping_assignment(
    session: Session, device_id: UUID, starts_at: datetime, ends_at: datetime | None
) -> DeviceAssignment | None:
    """An assignment of the device that shares time with [starts_at, ends_at)."""
    statement = select(DeviceAssignment).where(
        DeviceAssignment.device_id == device_id,
        func.tstzrange(DeviceAssignment.starts_at, DeviceAssignment.ends_at).op("&&")(
            func.tstzrange(starts_at, ends_at)
        ),
    )
    return session.scalar(statement.limit(1))


def find_assigned_patient(session: Session, device_id: UUID, at: datetime) -> UUID | None:
    """The patient who has the device at a time."""
    assignment = DeviceAssignment
    return session.scalar(
        select(assignment.patient_id).where(
            assignment.device_id == device_id,
            assignment.starts_at <= at,
            or_(assignment.ends_at.is_(None), assignment.ends_at > at),
        )
    )


def find_health(session: Session, caller: Caller, device_id: UUID, limit: int, cursor: str | None) -> Page:
    """The reports of a device's state, newest first; raises NotFound."""
    device = get_device(session, caller, device_id)
    statement = select(DeviceHealth).where(DeviceHealth.device_id == device.id)
    return paginate(session, statement, DeviceHealth.id, limit, cursor)


def get_stream(session: Session, caller: Caller, stream_id: UUID, *, lock: bool = False) -> SignalStream:
    """One stream, locked on demand; raises NotFound."""
    statement = visible(SignalStream, caller).where(SignalStream.id == stream_id)
    return get_one(session, statement.with_for_update() if lock else statement)


def find_streams(
    session: Session,
    caller: Caller,
    limit: int,
    cursor: str | None,
    device_id: UUID | None = None,
    patient_id: UUID | None = None,
    signal_type: str | None = None,
    open: bool | None = None,
) -> Page:
    """The organisation's streams, newest first; raises NotFound for a device that is not the organisation's."""
    statement = visible(SignalStream, caller)
    if device_id is not None:
        statement = statement.where(SignalStream.device_id == get_device(session, caller, device_id).id)
    if patient_id is not None:
        statement = statement.where(SignalStream.patient_id == patient_id)
    if signal_type is not None:
        statement = statement.where(SignalStream.signal_type == signal_type)
    if open is not None:
        ended_at = SignalStream.ended_at
        statement = statement.where(ended_at.is_(None) if open else ended_at.is_not(None))
    return paginate(session, statement, SignalStream.id, limit, cursor)


def find_open_streams(session: Session, device_id: UUID, patient_id: UUID) -> list[SignalStream]:
    """The streams that a device still produces on a patient."""
    statement = select(SignalStream).where(
        SignalStream.device_id == device_id, SignalStream.patient_id == patient_id, SignalStream.ended_at.is_(None)
    )
    return list(session.scalars(statement.with_for_update()))


def find_bindings(session: Session, caller: Caller, stream_id: UUID, limit: int, cursor: str | None) -> Page:
    """The bindings of a stream, newest first; raises NotFound."""
    stream = get_stream(session, caller, stream_id)
    statement = select(TimeseriesBinding).where(TimeseriesBinding.stream_id == stream.id)
    return paginate(session, statement, TimeseriesBinding.id, limit, cursor)
