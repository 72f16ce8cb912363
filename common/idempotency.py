"""Idempotency-Key: the same key and request replays the first answer for 24 hours, whatever got lost on the way.

The key's row is written in the transaction of the effect, so there is one effect for any number of attempts at once:
a second attempt waits for the first one's commit.
"""

from __future__ import annotations

import hashlib
import re

from flask import Request, Response
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from common.auth import Caller
from common.database import ALL_ORGANIZATIONS, Database
from common.errors import Conflict, ValidationFailed
from common.tables import idempotency_keys

HEADER, REPLAYED = "Idempotency-Key", "Idempotency-Replayed"
LIFE = "24 hours"
_KEY = re.compile(r"[\x21-\x7e]{8,255}")
_KEPT = ("Content-Type", "Location", "ETag")


class Attempt:
    """One request with a key, inside the transaction of its effect."""

    def __init__(self, session: Session, caller: Caller, request: Request, body: bytes) -> None:
        key = request.headers.get(HEADER, "")
        if not _KEY.fullmatch(key):
            raise ValidationFailed(details=[{"field": HEADER, "issue": "format"}])
        self._session = session
        self._identity = {"subject": caller.subject, "key": key}
        self._fingerprint = hashlib.sha256(
            b"\0".join([request.method.encode(), request.full_path.encode(), body])
        ).digest()

    def replay(self) -> Response | None:
        """The first answer, or None when this is the first attempt. Raises Conflict for a key of another request."""
        claim = insert(idempotency_keys).values(**self._identity, fingerprint=self._fingerprint)
        connection = self._session.connection()
        if connection.execute(claim.on_conflict_do_nothing()).rowcount:
            return None
        table = idempotency_keys
        first = connection.execute(
            table.select().where(table.c.subject == self._identity["subject"], table.c.key == self._identity["key"])
        ).one()
        if bytes(first.fingerprint) != self._fingerprint:
            raise Conflict
        return Response(bytes(first.body), first.status, {**first.headers, REPLAYED: "true"})

    def keep(self, answer: Response) -> None:
        """Remember the answer to the first attempt."""
        table = idempotency_keys
        headers = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        self._session.connection().execute(
            table.update()
            .where(table.c.subject == self._identity["subject"], table.c.key == self._identity["key"])
            .values(status=answer.status_code, headers=headers, body=answer.get_data())
        )


def forget_answers(database: Database) -> int:
    """Delete answers older than 24 hours. Returns 0: done."""
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.execute(text(f"DELETE FROM idempotency_keys WHERE created_at < now() - interval '{LIFE}'"))
    return 0
