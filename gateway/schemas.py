"""Wire shapes of what the gateway says of the suite. Only names of parts, states, counts and seconds: nobody's data."""

from __future__ import annotations

from common import fields
from common.fields import Schema


class DependencyOut(Schema):
    """What a service needs, as the service itself sees it."""

    name = fields.Text(required=True)
    state = fields.Choice(("up", "down"), required=True)
    latency_ms = fields.Number(required=True)


class QueueOut(Schema):
    """A queue of a service: messages waiting, the oldest for so long at most; to be tried again; put aside for good."""

    name = fields.Text(required=True)
    waiting = fields.Integer(0, required=True)
    oldest_s = fields.Number(0, required=True)
    retrying = fields.Integer(0, required=True)
    dead = fields.Integer(0, required=True)


class OutboxOut(Schema):
    """What a service has still to publish, and for how long the oldest has waited."""

    waiting = fields.Integer(0, required=True)
    oldest_s = fields.Number(0, required=True)


class ServiceHealthOut(Schema):
    """One service. `outbox` is null and `queues` empty while its worker has said nothing for half a minute."""

    name = fields.Text(required=True)
    state = fields.Choice(("up", "degraded", "down"), required=True)
    latency_ms = fields.Number(required=True)
    dependencies = fields.ListOf(fields.Nested(DependencyOut), required=True)
    queues = fields.ListOf(fields.Nested(QueueOut), required=True)
    outbox = fields.Nested(OutboxOut, required=True, allow_none=True)


class SuiteHealthOut(Schema):
    """The whole suite: `up` only when every service is."""

    state = fields.Choice(("up", "degraded"), required=True)
    services = fields.ListOf(fields.Nested(ServiceHealthOut), required=True)
