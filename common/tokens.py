"""Tokens (RFC 7519): signed, verified and remembered; those of people and devices, and those of services."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import jwt
import msgspec
from uuid6 import uuid7

from common import serialization
from common.auth import Claims
from common.config import TokenSettings
from common.errors import ExpiredToken, InvalidToken, UnparsableBody

AUDIENCE, INTERNAL_AUDIENCE = "heartguard", "heartguard-internal"
ACCESS_SECONDS, SERVICE_SECONDS = 15 * 60, 60
_REQUIRED = ["exp", "iat", "sub", "aud", "iss", "jti", "typ"]
_TYPES = {AUDIENCE: "access", INTERNAL_AUDIENCE: "service"}
_LONGEST = {AUDIENCE: ACCESS_SECONDS, INTERNAL_AUDIENCE: SERVICE_SECONDS}
_CACHE_SIZE = 10_000
_MIN_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a ring: HS256 secrets as bytes, PEM text for the algorithms with a key pair."""

    kid: str
    algorithm: str
    secret: bytes


def parse_keys(entries: Iterable[str], algorithm: str, *, public: bool = False) -> list[Key]:
    """`kid:secret` for HS256, `kid:/path/to/key.pem` otherwise; the first signs, all verify.

    The `public` half of a pair is read from `key.pub.pem` beside it: who only verifies need not be able to read the
    other. Raises ValueError for an entry without kid or an HS256 secret under 32 bytes.
    """
    keys = []
    for entry in entries:
        kid, _, value = entry.strip().partition(":")
        if not kid or not value:
            raise ValueError("a key is kid:secret")
        if algorithm == "HS256":
            secret = value.encode()
        else:
            secret = (Path(value).with_suffix(".pub.pem") if public else Path(value)).read_bytes()
        if algorithm == "HS256" and len(secret) < _MIN_SECRET_BYTES:
            raise ValueError(f"key {kid} is shorter than {_MIN_SECRET_BYTES} bytes")
        keys.append(Key(kid, algorithm, secret))
    if not keys:
        raise ValueError("no key")
    return keys


def _ring(keys: Iterable[Key]) -> dict[str, Key]:
    return {key.kid: key for key in keys}


class TokenVerifier:
    """Verifies access and service tokens; a verified token is remembered, by its whole text, until it expires."""

    def __init__(self, settings: TokenSettings) -> None:
        self._issuer = settings.jwt_issuer
        self._rings = {
            AUDIENCE: _ring(parse_keys(settings.jwt_signing_keys, settings.jwt_algorithm, public=True)),
            INTERNAL_AUDIENCE: _ring(parse_keys(settings.internal_signing_keys, "HS256")),
        }
        self._known: dict[str, Claims] = {}
        self._lock = threading.Lock()

    def verify(self, token: str, audience: str = AUDIENCE) -> Claims:
        """The claims of a token made for `audience`; raises InvalidToken or ExpiredToken."""
        known = self._known.get(token)
        if known is None:
            known = self._decode(token, audience)
            with self._lock:
                if len(self._known) >= _CACHE_SIZE:
                    self._known.clear()
                self._known[token] = known
        if known.audience != audience:
            raise InvalidToken
        if known.expires_at <= time.time():
            raise ExpiredToken
        return known

    def verify_any(self, token: str) -> Claims:
        """The claims of a user's or a service's token."""
        try:
            return self.verify(token, AUDIENCE)
        except ExpiredToken:
            raise
        except InvalidToken:
            return self.verify(token, INTERNAL_AUDIENCE)

    def _decode(self, token: str, audience: str) -> Claims:
        try:
            key = self._rings[audience][str(jwt.get_unverified_header(token)["kid"])]
            if token.endswith("="):  # PyJWT takes padding, so one token would have two texts
                raise InvalidToken
            payload = _JWT.decode(
                token,
                key.secret,
                algorithms=[key.algorithm],
                audience=audience,
                issuer=self._issuer,
                options={"require": _REQUIRED},
            )
            return _claims(payload, audience)
        except jwt.ExpiredSignatureError as error:
            raise ExpiredToken from error
        except (jwt.PyJWTError, UnparsableBody, KeyError, ValueError, TypeError, ArithmeticError) as error:
            raise InvalidToken from error


class _StrictJWT(jwt.PyJWT):
    """PyJWT with our JSON: of a claim that stands there twice it would believe the last."""

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        payload = serialization.parse_json(decoded["payload"])
        if not isinstance(payload, dict):
            raise jwt.DecodeError("no object")
        return payload


_JWT = _StrictJWT()


class _Payload(msgspec.Struct):
    """The claims and their types. Nothing is converted: the letters of a text are no list of roles."""

    sub: Annotated[str, msgspec.Meta(min_length=1)]
    aud: str
    typ: str
    iat: float
    exp: int
    jti: str
    roles: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    org_id: UUID | None = None
    sid: str | None = None
    scope: str | None = None


def _claims(payload: dict[str, Any], audience: str) -> Claims:
    claimed = msgspec.convert(payload, _Payload)
    if claimed.typ != _TYPES[audience] or claimed.aud != audience:
        raise ValueError("typ or aud")
    if claimed.exp - claimed.iat > _LONGEST[audience]:  # it would outlive its revocation
        raise ValueError("exp")
    return Claims(
        subject=claimed.sub,
        roles=claimed.roles,
        permissions=claimed.permissions,
        org_id=claimed.org_id,
        session_id=claimed.sid,
        token_id=claimed.jti,
        issued_at=claimed.iat,
        expires_at=claimed.exp,
        audience=audience,
        scope=claimed.scope,
    )


class TokenSigner:
    """Signs tokens of one audience with the first key of its ring."""

    def __init__(self, settings: TokenSettings, audience: str = INTERNAL_AUDIENCE) -> None:
        entries, algorithm = settings.internal_signing_keys, "HS256"
        if audience == AUDIENCE:
            entries, algorithm = settings.jwt_signing_keys, settings.jwt_algorithm
        self._key = parse_keys(entries, algorithm)[0]
        self._issuer, self._audience = settings.jwt_issuer, audience

    def sign(
        self,
        subject: str,
        *,
        seconds: int,
        org_id: UUID | None = None,
        roles: Iterable[str] = (),
        permissions: Iterable[str] = (),
        session_id: str | None = None,
        scope: str | None = None,
    ) -> str:
        """A token for `subject`, valid for `seconds`."""
        now = time.time()
        payload: dict[str, Any] = {
            "sub": subject,
            "aud": self._audience,
            "iss": self._issuer,
            "iat": now,  # never rounded up: PyJWT refuses a token from the next second
            "exp": int(now) + seconds,
            "jti": str(uuid7()),
            "typ": _TYPES[self._audience],
            "roles": sorted(roles),
            "permissions": sorted(permissions),
        }
        if org_id is not None:
            payload["org_id"] = str(org_id)
        if session_id is not None:
            payload["sid"] = session_id
        if scope is not None:
            payload["scope"] = scope
        return jwt.encode(payload, self._key.secret, self._key.algorithm, headers={"kid": self._key.kid})


def mint_service_token(settings: TokenSettings, org_id: UUID | None = None, permissions: Iterable[str] = ()) -> str:
    """A 60-second token with which this service calls another."""
    signer = TokenSigner(settings, INTERNAL_AUDIENCE)
    return signer.sign(f"service:{settings.service}", seconds=SERVICE_SECONDS, org_id=org_id, permissions=permissions)
