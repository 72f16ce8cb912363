"""Idempotency-Key: the same key and request replays the first answer for 24 hours, whatever got lost on the way.

The key's row is written in the transaction of the effect, so there is one effect for any number of attempts at once:
a second attempt waits for the first one's commit. The row holds neither key nor request nor answer in plain: an answer
may be a token, a request a password, and a hash of it without a secret could be tried out.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from cryptography.exceptions import InvalidTag
from flask import Request, Response
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from common.auth import Caller
from common.database import ALL_ORGANIZATIONS, Database
from common.errors import Conflict, ValidationFailed
from common.tables import idempotency_keys
from common.vault import Vault

HEADER, REPLAYED = "Idempotency-Key", "Idempotency-Replayed"
LIFE = "24 hours"
_KEY = re.compile(r"[\x21-\x7e]{8,255}")
_KEPT = ("Content-Type", "Location", "ETag")
_PURPOSE = "idempotency"


class Attempt:
    """One request with a key; keys are each caller's own, in each organisation."""

    def __init__(self, vault: Vault, caller: Caller, request: Request, body: bytes) -> None:
        key = request.headers.get(HEADER, "")
        if not _KEY.fullmatch(key):
            raise ValidationFailed(details=[{"field": HEADER, "issue": "format"}])
        self._vault = vault
        self._request = request.method, request.full_path, hashlib.sha256(body).hexdigest()
        self.onward_key = _hash(str(caller.org_id), caller.subject, key)
        """What another service that this one asks is given as the key."""
        table = idempotency_keys
        self._identity = {"subject": caller.subject, "key": self.onward_key}
        self._row = (table.c.subject == caller.subject, table.c.key == self.onward_key)

    def find(self, session: Session) -> Response | None:
        """The first answer if there is one. Raises Conflict for a key of another request."""
        kept = session.connection().execute(idempotency_keys.select().where(*self._row)).one_or_none()
        if kept is None:
            return None
        fingerprint = bytes(kept.fingerprint)
        if not any([hmac.compare_digest(fingerprint, made) for made in self._fingerprints()]):
            raise Conflict
        try:
            body = self._vault.open(self._sealed_for, bytes(kept.body))
        except InvalidTag as error:  # the key that sealed it was taken out of use
            raise Conflict from error
        return Response(body, kept.status, {**kept.headers, REPLAYED: "true"})

    def claim(self, session: Session) -> Response | None:
        """The first answer, or None when this is the first attempt, in the transaction of the effect."""
        claim = insert(idempotency_keys).values(**self._identity, fingerprint=self._fingerprints()[0])
        if session.connection().execute(claim.on_conflict_do_nothing()).rowcount:
            return None
        return self.find(session)

    def keep(self, session: Session, answer: Response) -> None:
        """Remember the answer to the first attempt."""
        headers = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        sealed = self._vault.seal(self._sealed_for, answer.get_data())
        update = idempotency_keys.update().where(*self._row)
        session.connection().execute(update.values(status=answer.status_code, headers=headers, body=sealed))

    def withdraw(self, session: Session) -> None:
        """Leave the key free: the request was refused."""
        session.connection().execute(idempotency_keys.delete().where(*self._row))

    @property
    def _sealed_for(self) -> str:
        return f"{_PURPOSE} {self.onward_key}"

    def _fingerprints(self) -> list[bytes]:
        return self._vault.digests(_PURPOSE, *self._request)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def forget_answers(database: Database) -> int:
    """Delete answers older than 24 hours. Returns 0: done."""
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.execute(text(f"DELETE FROM idempotency_keys WHERE created_at < now() - interval '{LIFE}'"))
    return 0
