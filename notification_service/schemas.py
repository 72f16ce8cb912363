"""Wire shapes of the notification service."""

from common import fields
from common.pagination import PageFilter
from notification_service.models import CHANNELS, PLATFORMS, STATUSES


class PushDeviceIn(fields.Schema):
    """A phone or browser of the caller."""

    platform = fields.Choice(PLATFORMS, required=True)
    token = fields.Text(max_length=1000, pattern=r"^[\x21-\x7e]+\Z", required=True)
    name = fields.Text(max_length=80, load_default=None, allow_none=True)


class PushDeviceOut(fields.Schema):
    """A phone or browser; its token is never shown again."""

    id = fields.Uuid()
    user_id = fields.Uuid()
    platform = fields.Choice(PLATFORMS)
    name = fields.Text(max_length=80, allow_none=True)
    created_at = fields.DateTime()
    updated_at = fields.DateTime()


class DeliveryOut(fields.Schema):
    """One notification on its way to one recipient: a user's id, or `operators`, `fallback`, `nobody`."""

    id = fields.Uuid()
    org_id = fields.Uuid()
    notification_id = fields.Uuid()
    alert_id = fields.Uuid()
    channel = fields.Choice(CHANNELS)
    recipient = fields.Text(max_length=40)
    status = fields.Choice(STATUSES)
    reason = fields.Text(max_length=40, allow_none=True)
    failures = fields.Integer()
    sent_at = fields.DateTime(allow_none=True)
    created_at = fields.DateTime()
    updated_at = fields.DateTime()


class DeliveryFilter(PageFilter):
    """Search by state, channel or alert."""

    status = fields.Choice(STATUSES, load_default=None)
    channel = fields.Choice(CHANNELS, load_default=None)
    alert = fields.Uuid(load_default=None)


class DeliveryEventOut(fields.Schema):
    """One change of a delivery."""

    id = fields.Uuid()
    status = fields.Choice(STATUSES)
    reason = fields.Text(max_length=40, allow_none=True)
    at = fields.DateTime()
