"""Every permission of the suite, sorted, and the three doors that ask for none."""

from enum import StrEnum


class Permission(StrEnum):
    """`resource:action`; the values travel in access tokens."""

    ALERT_ACK = "alert:ack"
    ALERT_MANAGE = "alert:manage"
    ALERT_READ = "alert:read"
    ALERT_WRITE = "alert:write"
    AUDIT_EXPORT = "audit:export"
    AUDIT_READ = "audit:read"
    AUDIT_WRITE = "audit:write"
    DEVICE_READ = "device:read"
    DEVICE_WRITE = "device:write"
    INFERENCE_READ = "inference:read"
    INFERENCE_WRITE = "inference:write"
    MEDIA_READ = "media:read"
    MEDIA_WRITE = "media:write"
    MODEL_MANAGE = "model:manage"
    NOTIFICATION_READ = "notification:read"
    NOTIFICATION_WRITE = "notification:write"
    OPS_READ = "ops:read"
    ORGANIZATION_READ = "organization:read"
    ORGANIZATION_WRITE = "organization:write"
    PATIENT_ERASE = "patient:erase"
    PATIENT_READ = "patient:read"
    PATIENT_WRITE = "patient:write"
    ROLE_READ = "role:read"
    ROLE_WRITE = "role:write"
    TIMESERIES_READ = "timeseries:read"
    TIMESERIES_WRITE = "timeseries:write"
    USER_READ = "user:read"
    USER_WRITE = "user:write"


class Door(StrEnum):
    """Who may enter where no permission is asked for."""

    PUBLIC = "PUBLIC"
    AUTHENTICATED = "AUTHENTICATED"
    INTERNAL = "INTERNAL"


PUBLIC, AUTHENTICATED, INTERNAL = Door.PUBLIC, Door.AUTHENTICATED, Door.INTERNAL
P = Permission
