"""Which patients a caller may see: the patient service says so, before a transaction begins."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import redis
import structlog
from sqlalchemy import ARRAY, ColumnElement, Text, Uuid, any_, cast, literal, true

from common.auth import Caller
from common.cache import Pause, RedisError
from common.errors import NotFound, Unavailable, UpstreamTimeout
from common.http import InternalClient

log = structlog.get_logger()

REMEMBERED_S = 15 * 60
PAUSE_S = 5.0


def in_care(caller: Caller, patient_id: Any) -> ColumnElement[bool]:
    """The condition that a row is about a patient whom the caller may see. `patient_id` is its column."""
    if caller.sees_every_patient:
        return true()
    seen = sorted(map(str, caller.patients or ()))
    condition: ColumnElement[bool] = patient_id == any_(cast(literal(seen, ARRAY(Text())), ARRAY(Uuid())))
    return condition


class CareRelations:
    """Asks whom a person may see. While nobody answers, what was last said holds for 15 minutes, as a token does:

    an alarm must be acknowledged although the patient service is away.
    """

    def __init__(self, client: InternalClient, memory: redis.Redis) -> None:
        self._client, self._memory = client, memory
        self._pause = Pause(PAUSE_S)

    def of(self, caller: Caller) -> Caller:
        """The caller who knows whom they may see; raises Unavailable when nobody can say."""
        if caller.sees_every_patient or caller.user_id is None:
            return caller
        roles = sorted(caller.roles)
        key = f"care:{caller.org_id}:{caller.user_id}:{','.join(roles)}"
        care = self._ask(caller, key, {"user_id": caller.user_id, "roles": roles}) or self._recall(key)
        if care is None:
            raise Unavailable
        return replace(caller, patients=None if care["everyone"] else frozenset(map(UUID, care["patient_ids"])))

    def _ask(self, caller: Caller, key: str, viewer: dict[str, Any]) -> dict[str, Any] | None:
        if self._pause.active():
            return None
        try:
            care: dict[str, Any] = self._client.post(caller, "patient", "/internal/care", viewer)
        except (NotFound, Unavailable, UpstreamTimeout) as error:
            self._pause.begin()
            log.warning("care.remembered", reason=type(error).__name__)
            return None
        self._pause.end()
        try:
            self._memory.set(key, json.dumps(care), ex=REMEMBERED_S)
        except RedisError as error:
            log.warning("care.not_remembered", reason=type(error).__name__)
        return care

    def _recall(self, key: str) -> dict[str, Any] | None:
        try:
            known: Any = self._memory.get(key)
        except RedisError:
            return None
        return json.loads(known) if known else None
