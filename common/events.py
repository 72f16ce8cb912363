"""What travels on the bus: frozen, versioned payloads in a CloudEvents 1.0 envelope."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from uuid6 import uuid7

EXCHANGES = {
    "device.topic": "topic",
    "influx.topic": "topic",
    "inference.fanout": "fanout",
    "alert.direct": "direct",
    "notification.topic": "topic",
    "organization.topic": "topic",
    "audit.fanout": "fanout",
}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A payload. Subclasses fix where it goes; fields may be added with a default, never removed or changed.

    `mandatory` is False where nobody has to listen: the reason stands in the subclass's docstring.
    """

    type: ClassVar[str]
    exchange: ClassVar[str]
    schema_version: ClassVar[int] = 1
    mandatory: ClassVar[bool] = True

    @property
    def routing_key(self) -> str:
        """The AMQP routing key; the event's type unless a subclass says more."""
        return self.type

    @property
    def subject(self) -> str | None:
        """The id of the thing the event is about."""
        return None


class AuditLog(Event, frozen=True, kw_only=True):
    """Who did what to which thing; `details` names fields and states, never a clinical value."""

    type: ClassVar[str] = "audit.log"
    exchange: ClassVar[str] = "audit.fanout"

    actor: str
    action: str
    entity: str
    entity_id: str | None = None
    org_id: UUID | None = None
    ip: str | None = None
    user_agent: str | None = None
    request_id: str = ""
    ts: datetime
    details: dict[str, Any] = {}


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """CloudEvents 1.0 with the extension attributes of the contract (`orgid actor requestid schemaversion`)."""

    specversion: str
    id: UUID
    source: str
    type: str
    time: datetime
    data: msgspec.Raw
    subject: str | None = None
    datacontenttype: str = "application/json"
    orgid: UUID | None = None
    actor: str = ""
    requestid: str = ""
    schemaversion: int = 1


decode_envelope = msgspec.json.Decoder(Envelope).decode


def wrap(event: Event, *, source: str, org_id: UUID | None, actor: str, request_id: str) -> tuple[UUID, bytes]:
    """A new message id and the body that carries `event`."""
    message_id = uuid7()
    envelope = {
        "specversion": "1.0",
        "id": message_id,
        "source": f"urn:heartguard:{source}",
        "type": event.type,
        "time": datetime.now(UTC),
        "datacontenttype": "application/json",
        "data": event,
        "actor": actor,
        "requestid": request_id,
        "schemaversion": event.schema_version,
    }
    if org_id is not None:
        envelope["orgid"] = org_id
    if event.subject is not None:
        envelope["subject"] = event.subject
    return message_id, msgspec.json.encode(envelope)
