"""Reads of the notification service, within the caller's organisation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from common.auth import Caller
from common.care import in_care
from common.database import get_one
from common.pagination import Page, paginate
from notification_service.models import AlertDelivery, DeliveryEvent, NotificationRequest, PushDevice


def get_push_device(session: Session, caller: Caller, device_id: UUID) -> PushDevice:
    """One device of the caller; raises NotFound."""
    return get_one(session, _own_devices(caller).where(PushDevice.id == device_id))


def find_push_devices(session: Session, caller: Caller, limit: int, cursor: str | None) -> Page:
    """The caller's devices, newest first."""
    return paginate(session, _own_devices(caller), PushDevice.id, limit, cursor)


def find_device_by_token(session: Session, caller: Caller, token: str) -> PushDevice | None:
    """The device that has this token in the organisation, whoever used it last."""
    statement = select(PushDevice).where(PushDevice.org_id == caller.org_id, PushDevice.token == token)
    return session.scalar(statement.with_for_update())


def _own_devices(caller: Caller) -> Select[Any]:
    return select(PushDevice).where(PushDevice.org_id == caller.org_id, PushDevice.user_id == caller.user_id)


def visible_deliveries(caller: Caller) -> Select[Any]:
    """The deliveries to the caller; staff see those as well that are about patients whom they may see."""
    statement = select(AlertDelivery).where(AlertDelivery.org_id == caller.org_id)
    if caller.sees_every_patient:
        return statement
    own = AlertDelivery.user_id == caller.user_id
    if caller.sees_linked_patients_only:
        return statement.where(own)
    about = select(NotificationRequest.id).where(in_care(caller, NotificationRequest.patient_id))
    return statement.where(or_(own, AlertDelivery.notification_id.in_(about)))


def get_delivery(session: Session, caller: Caller, delivery_id: UUID, *, to_change: bool = False) -> AlertDelivery:
    """One delivery, locked when it is going to change; raises NotFound."""
    statement = visible_deliveries(caller).where(AlertDelivery.id == delivery_id)
    return get_one(session, statement.with_for_update(key_share=True) if to_change else statement)


def find_deliveries(
    session: Session,
    caller: Caller,
    limit: int,
    cursor: str | None,
    status: str | None = None,
    channel: str | None = None,
    alert: UUID | None = None,
) -> Page:
    """The deliveries the caller may see, newest first."""
    statement = visible_deliveries(caller)
    if status is not None:
        statement = statement.where(AlertDelivery.status == status)
    if channel is not None:
        statement = statement.where(AlertDelivery.channel == channel)
    if alert is not None:
        statement = statement.where(AlertDelivery.alert_id == alert)
    return paginate(session, statement, AlertDelivery.id, limit, cursor)


def find_events(session: Session, caller: Caller, delivery_id: UUID, limit: int, cursor: str | None) -> Page:
    """The changes of a delivery, newest first; raises NotFound."""
    delivery = get_delivery(session, caller, delivery_id)
    statement = select(DeliveryEvent).where(DeliveryEvent.delivery_id == delivery.id)
    return paginate(session, statement, DeliveryEvent.id, limit, cursor)
