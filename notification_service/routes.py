"""Endpoints of the notification service."""

from common.api import Api, page_of
from common.outbox import record
from common.pagination import PageFilter
from common.permissions import Permission as P
from notification_service import actions, queries
from notification_service.schemas import (
    DeliveryEventOut,
    DeliveryFilter,
    DeliveryOut,
    PushDeviceIn,
    PushDeviceOut,
)

push_devices = Api("push devices")
notifications = Api("notifications", care=True)


@push_devices.post(
    "/push-devices",
    permission=P.NOTIFICATION_WRITE,
    body=PushDeviceIn,
    returns=PushDeviceOut,
    creates="/push-devices/{id}",
)
def register_push_device(session, caller, body):
    """Register a phone or browser of the caller."""
    return actions.register_push_device(session, caller, **body)


@push_devices.get("/push-devices", permission=P.NOTIFICATION_READ, query=PageFilter, returns=page_of(PushDeviceOut))
def list_push_devices(session, caller, query):
    """List the caller's devices."""
    return queries.find_push_devices(session, caller, **query)


@push_devices.get("/push-devices/{device_id}", permission=P.NOTIFICATION_READ, returns=PushDeviceOut)
def get_push_device(session, caller, device_id):
    """Get one of the caller's devices."""
    return queries.get_push_device(session, caller, device_id)


@push_devices.put(
    "/push-devices/{device_id}", permission=P.NOTIFICATION_WRITE, body=PushDeviceIn, returns=PushDeviceOut
)
def replace_push_device(session, caller, device_id, body):
    """Replace the data of one of the caller's devices."""
    return actions.replace_push_device(session, caller, device_id, **body)


@push_devices.delete("/push-devices/{device_id}", permission=P.NOTIFICATION_WRITE)
def remove_push_device(session, caller, device_id):
    """Forget one of the caller's devices."""
    actions.remove_push_device(session, caller, device_id)


@notifications.get("/notifications", permission=P.NOTIFICATION_READ, query=DeliveryFilter, returns=page_of(DeliveryOut))
def list_notifications(session, caller, query):
    """List deliveries: who was told what through which channel, and whether it arrived."""
    page = queries.find_deliveries(session, caller, **query)
    record(session, caller, "delivery.listed", "alert_delivery", {"count": len(page.items)})
    return page


@notifications.get("/notifications/{delivery_id}", permission=P.NOTIFICATION_READ, returns=DeliveryOut)
def get_notification(session, caller, delivery_id):
    """Get one delivery."""
    delivery = queries.get_delivery(session, caller, delivery_id)
    record(session, caller, "delivery.read", delivery)
    return delivery


@notifications.get(
    "/notifications/{delivery_id}/events",
    permission=P.NOTIFICATION_READ,
    query=PageFilter,
    returns=page_of(DeliveryEventOut),
)
def list_notification_events(session, caller, delivery_id, query):
    """List the changes of a delivery."""
    page = queries.find_events(session, caller, delivery_id, **query)
    record(session, caller, "delivery.events_listed", f"alert_delivery:{delivery_id}")
    return page


@notifications.post("/notifications/{delivery_id}/retry", permission=P.NOTIFICATION_WRITE, returns=DeliveryOut)
def retry_notification(session, caller, delivery_id):
    """Send a failed delivery again."""
    return actions.retry_delivery(session, caller, delivery_id)
