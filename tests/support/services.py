"""Calls into real services for tests: their Flask apps on real servers, tokens, outboxes, consumers."""

from __future__ import annotations

import importlib
import json
import threading
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import msgspec
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from common import messaging
from common.auth import device_subject
from common.config import package_of
from common.consuming import QueueConsumer
from common.database import ALL_ORGANIZATIONS, Database
from common.events import Event, wrap
from common.factory import Service, resources_of
from common.permissions import Permission
from common.tokens import AUDIENCE, INTERNAL_AUDIENCE, TokenSigner

ALL_PERMISSIONS = frozenset(permission.value for permission in Permission)


@dataclass(frozen=True)
class Person:
    """Somebody with a token, who unless a test says otherwise sees every patient of their organisation."""

    org_id: UUID | None = field(default_factory=uuid4)
    user_id: UUID = field(default_factory=uuid4)
    roles: tuple[str, ...] = ("org_admin",)
    permissions: frozenset[str] = ALL_PERMISSIONS

    @property
    def subject(self) -> str:
        """The `sub` of their token; a device's own token names the device."""
        return device_subject(self.user_id) if self.roles == ("device",) else str(self.user_id)


class ServiceUnderTest:
    """One service's app and what surrounds it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.package = package_of(name)
        self.app = importlib.import_module(f"{self.package}.app").app
        self.service: Service = self.app.extensions["heartguard"]
        self.client: FlaskClient = self.app.test_client()

    @property
    def database(self) -> Database:
        """The service's database, as its own role."""
        assert self.service.database is not None
        return self.service.database

    def token(self, person: Person) -> str:
        """An access token for a person."""
        signer = TokenSigner(self.service.settings, AUDIENCE)
        return signer.sign(
            person.subject,
            seconds=900,
            org_id=person.org_id,
            roles=person.roles,
            permissions=person.permissions,
            session_id=str(uuid4()),
        )

    def service_token(self, name: str, org_id: UUID | None = None, permissions: tuple[str, ...] = ()) -> str:
        """A token with which another service would call."""
        signer = TokenSigner(self.service.settings, INTERNAL_AUDIENCE)
        return signer.sign(f"service:{name}", seconds=60, org_id=org_id, permissions=permissions)

    def call(
        self,
        method: str,
        path: str,
        person: Person | str | None = None,
        *,
        json: Any = None,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> TestResponse:
        """One request as `person` (a Person, a ready token, or None for nobody)."""
        complete = dict(headers or {})
        if person is not None:
            token = person if isinstance(person, str) else self.token(person)
            complete["Authorization"] = f"Bearer {token}"
        return self.client.open(path, method=method, json=json, headers=complete, **options)

    def outbox(self, type: str | None = None, org_id: UUID | None = None) -> list[dict[str, Any]]:
        """The unsent messages (CloudEvents as dicts), oldest first."""
        with self.database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
            rows = session.execute(text("SELECT body FROM outbox ORDER BY id")).scalars().all()
        events = [json.loads(bytes(row)) for row in rows]
        return [
            event
            for event in events
            if (type is None or event["type"] == type) and (org_id is None or event.get("orgid") == str(org_id))
        ]

    def audited(self, org_id: UUID) -> list[str]:
        """The actions recorded for an organisation, oldest first."""
        return [event["data"]["action"] for event in self.outbox("audit.log", org_id)]

    def deliver(self, event: Event, org_id: UUID | None, *, twice: bool = False) -> list[bool]:
        """Hand an event to this service's consumer as the broker would; True where it had an effect."""
        importlib.import_module(f"{self.package}.consumers")
        chosen = [
            item
            for item in messaging.registry
            if item.handler.__module__.startswith(self.package) and item.type == event.type
        ]
        assert chosen, f"{self.name} does not consume {event.type}"
        resources = resources_of(self.package, self.service.settings, self.database)
        _, body = wrap(event, source="test", org_id=org_id, actor="service:test", request_id=f"test-{uuid4()}")
        effects = []
        for item in chosen:
            consumer = QueueConsumer("", self.database, item.queue, [item], resources, threading.Event())
            effects += [consumer.apply(body) for _ in range(2 if twice else 1)]
        return effects


def event_like(type: str, exchange: str, **fields: Any) -> Event:
    """An event as another service would publish it, without importing that service."""
    made = msgspec.defstruct(
        "PublishedEvent",
        [(name, Any) for name in fields],
        bases=(Event,),
        namespace={"type": type, "exchange": exchange},
        frozen=True,
        kw_only=True,
    )
    event: Event = made(**fields)
    return event
