"""ETag, If-None-Match and If-Match (RFC 9110, 8.8.3 and 13): nobody overwrites what they have not seen.

A tag is the hash of what the resource says, with the format's name behind it: `"3f...-json"`. For If-Match the hash
alone counts, so a tag got as XML serves for a change in JSON; and so does one that a compressing proxy made weak, as
ours name a state and not its bytes. The resource of a path is what its GET answers. A change of it with If-Match is
held against that answer in the transaction of the change, after a lock that every change of that path takes first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.orm import Session
from werkzeug.http import parse_etags

from common import responses, serialization
from common.errors import PreconditionFailed
from common.fields import Schema

if TYPE_CHECKING:
    from common.api import Endpoint

CHANGES = frozenset({"PUT", "PATCH", "DELETE"})
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


def find_resource(endpoint: Endpoint, endpoints: Iterable[Endpoint]) -> Endpoint | None:
    """The GET of the one resource that `endpoint` reads, changes or creates; None where there is none."""
    if endpoint.method == "POST" and endpoint.creates is None:
        return None
    wanted = _shape(endpoint.creates or endpoint.path)
    return next((item for item in endpoints if item.reads_one and _shape(item.path) == wanted), None)


def _shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def tag_of(data: Any, body: bytes, media_type: str) -> str:
    """The ETag of an answer; `body` is `data` rendered as `media_type`."""
    if media_type == serialization.JSON:
        return f'"{_hash(body)}-json"'
    return f'"{state_of(data)}-xml"'


def state_of(data: Any) -> str:
    """The part of a tag that names the state, the same in every format."""
    return _hash(responses.render_success(data, serialization.JSON))


def _hash(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def is_known(tag: str, if_none_match: str) -> bool:
    """True when the client holds the answer with this tag already."""
    known = parse_etags(if_none_match)
    return known.star_tag or known.contains_weak(tag[1:-1])


class Precondition:
    """What an If-Match asks of one request that changes a resource. Called in the transaction of the change."""

    def __init__(self, if_match: str | None, lock_name: str, schema: Schema) -> None:
        self._if_match, self._lock_name, self._schema = if_match, lock_name, schema

    def __call__(self, session: Session, read: Callable[[], Any]) -> None:
        """Wait for other changes of the resource; raises PreconditionFailed when `read` finds it changed."""
        session.execute(_LOCK, {"name": self._lock_name})
        if self._if_match is None:
            return
        accepted = parse_etags(self._if_match)
        state = state_of(self._schema.dump(read()))
        tags = filter(None, accepted.as_set(include_weak=True))  # Werkzeug reads `""` as None
        if not accepted.star_tag and state not in {tag.partition("-")[0] for tag in tags}:
            raise PreconditionFailed
