"""Who cares for a patient, where to write to them, and how they want to be told: asked of the services that know."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from common.auth import Caller
from common.cache import Pause
from common.errors import NotFound, Unavailable, UpstreamTimeout
from common.http import InternalClient

log = structlog.get_logger()

PEOPLE_AT_ONCE = 200
LANGUAGES = ("es", "en")


@dataclass(frozen=True)
class Recipient:
    """Somebody to tell; `name` is a user's id, or operators, fallback, nobody. Without `channels`: by all."""

    name: str
    user_id: UUID | None = None
    address: str | None = None
    language: str = "es"
    channels: tuple[str, ...] | None = None
    wait_until: datetime | None = None


@dataclass
class Directory:
    """Asks each question once, and not at all while `pause` lasts; made anew for each batch."""

    client: InternalClient
    pause: Pause
    _contacts: dict[tuple[UUID | None, UUID], list[Recipient]] = field(default_factory=dict)
    _told: dict[tuple[UUID | None, UUID, str], list[Recipient]] = field(default_factory=dict)

    def find_people(self, caller: Caller, patient_id: UUID, level: str) -> list[Recipient]:
        """The people to tell of an alarm of `level`, and how; raises Unavailable, UpstreamTimeout.

        When nobody can say how they want to be told, they are told at once: an alarm waits for nobody's preferences.
        """
        patient = caller.org_id, patient_id
        if patient not in self._contacts:
            self._contacts[patient] = self._find_contacts(caller, patient_id)
        if (*patient, level) not in self._told:
            self._told[(*patient, level)] = self._ask_wishes(caller, self._contacts[patient], level)
        return self._told[(*patient, level)]

    def _find_contacts(self, caller: Caller, patient_id: UUID) -> list[Recipient]:
        try:
            user_ids = self.client.get(caller, "patient", f"/patients/{patient_id}/recipients")["user_ids"]
        except NotFound:
            return []
        found: list[Recipient] = []
        for start in range(0, len(user_ids), PEOPLE_AT_ONCE):
            body = {"user_ids": user_ids[start : start + PEOPLE_AT_ONCE]}
            contacts = self.client.post(caller, "auth", "/internal/contacts", body)["contacts"]
            found += [_recipient(contact) for contact in contacts if contact.get("email")]
        return found

    def _ask_wishes(self, caller: Caller, people: list[Recipient], level: str) -> list[Recipient]:
        if self.pause.active() or not people:
            return people
        body = {"level": level, "at": datetime.now(UTC).isoformat()}
        ways: list[dict[str, Any]] = []
        try:
            for start in range(0, len(people), PEOPLE_AT_ONCE):
                asked = [person.name for person in people[start : start + PEOPLE_AT_ONCE]]
                ways += self.client.post(caller, "user", "/internal/alarm-ways", body | {"user_ids": asked})["ways"]
        except (NotFound, Unavailable, UpstreamTimeout) as error:
            log.warning("notification.wishes_unknown", reason=type(error).__name__)
            self.pause.begin()  # no other alarm must wait for the same answer
            return people
        self.pause.end()
        return [_as_wished(person, way) for person, way in zip(people, ways, strict=True)]


def _recipient(contact: dict[str, Any]) -> Recipient:
    language = contact.get("language")
    return Recipient(
        name=contact["user_id"],
        user_id=UUID(contact["user_id"]),
        address=contact["email"],
        language=language if language in LANGUAGES else LANGUAGES[0],
    )


def _as_wished(person: Recipient, way: dict[str, Any]) -> Recipient:
    language, until = way["language"], way["wait_until"]
    return replace(
        person,
        language=language if language in LANGUAGES else person.language,
        channels=tuple(way["channels"]),
        wait_until=None if until is None else datetime.fromisoformat(until),
    )
