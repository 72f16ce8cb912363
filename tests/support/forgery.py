"""Forged tokens, each with its name: what an attacker, or a mistake of ours, could put where a token is expected.

Those in `FORGED` are refused at every door. Most are signed with the right key, so that nothing but the fault which
their name says can be what refuses them.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from common.config import TokenSettings
from common.tokens import AUDIENCE, INTERNAL_AUDIENCE, parse_keys

GONE = object()
_RSA, _EC = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
_PUBLIC = _RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


@dataclass(frozen=True)
class Forger:
    """Makes tokens of one audience with its real key; `other` is the ring of the other audience."""

    kid: str
    secret: bytes
    audience: str
    type: str
    other: Forger | None = None

    @classmethod
    def of_users(cls, settings: TokenSettings) -> Forger:
        """Who forges access tokens."""
        user = parse_keys(settings.jwt_signing_keys, settings.jwt_algorithm)[0]
        internal = parse_keys(settings.internal_signing_keys, "HS256")[0]
        services = cls(internal.kid, internal.secret, INTERNAL_AUDIENCE, "service")
        return cls(user.kid, user.secret, AUDIENCE, "access", services)

    @classmethod
    def of_services(cls, settings: TokenSettings) -> Forger:
        """Who forges the tokens with which services call each other."""
        users = cls.of_users(settings)
        assert users.other is not None
        return replace(users.other, other=users)

    @cached_property
    def claims(self) -> dict[str, Any]:
        """The claims of a good token that may do everything."""
        now = int(time.time())
        return {
            "sub": str(uuid4()) if self.audience == AUDIENCE else "service:test",
            "aud": self.audience,
            "iss": "heartguard",
            "iat": now,
            "exp": now + 60,
            "jti": str(uuid4()),
            "typ": self.type,
            "sid": str(uuid4()),
            "org_id": str(uuid4()),
            "roles": ["superadmin"],
            "permissions": ["patient:read", "patient:write", "user:write", "role:write"],
        }

    def sign(
        self,
        *,
        header: dict[str, Any] | None = None,
        payload: bytes | None = None,
        signature: Callable[[bytes], bytes] | None = None,
        **changes: Any,
    ) -> str:
        """A token that is good but for the changes; a claim or header field that is GONE is left out."""
        head = {"alg": "HS256", "typ": "JWT", "kid": self.kid} | (header or {})
        claims = {name: value for name, value in (self.claims | changes).items() if value is not GONE}
        head = {name: value for name, value in head.items() if value is not GONE}
        parts = [json.dumps(head).encode(), json.dumps(claims).encode() if payload is None else payload]
        return self.seal(".".join(map(_encode, parts)), signature)

    def seal(self, text: str, signature: Callable[[bytes], bytes] | None = None) -> str:
        """Header and payload with their signature, by default the right one."""
        return f"{text}.{_encode((signature or self.hmac())(text.encode()))}"

    def hmac(self, secret: bytes | None = None, kind: str = "sha256") -> Callable[[bytes], bytes]:
        """An HMAC, by default with the right secret; PyJWT would not sign with some of these."""
        return lambda text: hmac.digest(self.secret if secret is None else secret, text, kind)

    def rewritten(self, **changes: Any) -> str:
        """A good token whose claims were changed afterwards, with its old signature."""
        head, _, signature = self.sign().split(".")
        return f"{head}.{_encode(json.dumps(self.claims | changes).encode())}.{signature}"

    def twice(self, name: str, first: Any) -> str:
        """A token, rightly signed, in which a claim stands twice: first so, then as it should be."""
        return self.sign(payload=b"{" + json.dumps({name: first})[1:-1].encode() + b"," + self._json[1:])

    @property
    def _json(self) -> bytes:
        return json.dumps(self.claims).encode()


def _rsa(text: bytes) -> bytes:
    return RSAAlgorithm(RSAAlgorithm.SHA256).sign(text, _RSA)


def _nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def _flipped(token: str) -> str:
    """The last character's lowest bit, which belongs to no byte of the signature."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


HOUR = 3600
FORGED: dict[str, Callable[[Forger], str]] = {
    # --- the algorithm
    "alg none, no signature": lambda f: f.sign(header={"alg": "none"}, signature=lambda _: b""),
    "alg none, good signature": lambda f: f.sign(header={"alg": "none"}),
    "alg None": lambda f: f.sign(header={"alg": "None"}, signature=lambda _: b""),
    "alg NONE": lambda f: f.sign(header={"alg": "NONE"}, signature=lambda _: b""),
    "alg empty": lambda f: f.sign(header={"alg": ""}),
    "alg missing": lambda f: f.sign(header={"alg": GONE}),
    "alg is a list": lambda f: f.sign(header={"alg": ["HS256"]}),
    "alg in lower case": lambda f: f.sign(header={"alg": "hs256"}),
    "HS384 with the right secret": lambda f: f.sign(header={"alg": "HS384"}, signature=f.hmac(kind="sha384")),
    "HS512 with the right secret": lambda f: f.sign(header={"alg": "HS512"}, signature=f.hmac(kind="sha512")),
    "HS512 declared, HS256 signed": lambda f: f.sign(header={"alg": "HS512"}),
    "RS256 with a key of one's own": lambda f: f.sign(header={"alg": "RS256"}, signature=_rsa),
    "RS256 with a key of one's own, named in the header": lambda f: f.sign(
        header={"alg": "RS256", "jwk": json.loads(RSAAlgorithm.to_jwk(_RSA.public_key()))}, signature=_rsa
    ),
    "RS256 with a key at one's own address": lambda f: f.sign(
        header={"alg": "RS256", "jku": "https://mallory.example/keys.json"}, signature=_rsa
    ),
    "HS256 declared, RS256 signed": lambda f: f.sign(signature=_rsa),
    "a public key as the secret": lambda f: f.sign(signature=f.hmac(_PUBLIC)),
    "ES256 with a key of one's own": lambda f: f.sign(
        header={"alg": "ES256"}, signature=lambda text: ECAlgorithm(ECAlgorithm.SHA256).sign(text, _EC)
    ),
    "EdDSA with a key of one's own": lambda f: f.sign(
        header={"alg": "EdDSA"},
        signature=lambda text: OKPAlgorithm().sign(text, ed25519.Ed25519PrivateKey.generate()),
    ),
    # --- the secret
    "another secret": lambda f: f.sign(signature=f.hmac(b"z" * 40)),
    "an empty secret": lambda f: f.sign(signature=f.hmac(b"")),
    "the key's name as the secret": lambda f: f.sign(signature=f.hmac(f.kid.encode())),
    "the other audience's secret": lambda f: f.sign(signature=f.hmac(f.other.secret)),
    "the other audience's key": lambda f: f.other.sign(**f.claims),
    "no signature": lambda f: f.sign(signature=lambda _: b""),
    "a signature of zeros": lambda f: f.sign(signature=lambda _: bytes(32)),
    "the signature of another token": lambda f: f.sign().rpartition(".")[0] + "." + f.sign(jti="1").rpartition(".")[2],
    # --- the key's name
    "no kid": lambda f: f.sign(header={"kid": GONE}),
    "kid unknown": lambda f: f.sign(header={"kid": "nobody"}),
    "kid empty": lambda f: f.sign(header={"kid": ""}),
    "kid null": lambda f: f.sign(header={"kid": None}),
    "kid is a number": lambda f: f.sign(header={"kid": 0}),
    "kid is a list": lambda f: f.sign(header={"kid": [f.kid]}),
    "kid is an object": lambda f: f.sign(header={"kid": {f.kid: f.kid}}),
    "kid is a path": lambda f: f.sign(header={"kid": "../../../dev/null"}, signature=f.hmac(b"")),
    "kid is an absolute path": lambda f: f.sign(header={"kid": "/dev/null"}, signature=f.hmac(b"")),
    "kid is an address": lambda f: f.sign(header={"kid": "https://mallory.example/key"}),
    "kid is SQL": lambda f: f.sign(header={"kid": "' OR '1'='1' --"}),
    "kid selects a secret": lambda f: f.sign(header={"kid": "x' UNION SELECT 'aa' --"}, signature=f.hmac(b"aa")),
    "kid is a command": lambda f: f.sign(header={"kid": "|id; $(id)"}),
    "kid is huge": lambda f: f.sign(header={"kid": "k" * 4000}),
    "kid with spaces around it": lambda f: f.sign(header={"kid": f" {f.kid} "}),
    "kid ends with a zero byte": lambda f: f.sign(header={"kid": f.kid + "\0"}),
    # --- the header
    "an unknown critical extension": lambda f: f.sign(header={"crit": ["http://x.example/ext"]}),
    "payload not encoded (b64 false)": lambda f: f.sign(header={"b64": False, "crit": ["b64"]}),
    "header is a list": lambda f: f.seal(f"{_encode(b'[1]')}.{_encode(f._json)}"),
    "header is no JSON": lambda f: f.seal(f"{_encode(b'{')}.{_encode(f._json)}"),
    "header nested 600 deep": lambda f: f.seal(f"{_encode(_nested(600))}.{_encode(f._json)}"),
    "header opens 3,900 lists": lambda f: f.seal(f"{_encode(b'[' * 3900)}.{_encode(f._json)}"),
    # --- whom it is for, who made it, what it is
    "no audience": lambda f: f.sign(aud=GONE),
    "audience unknown": lambda f: f.sign(aud="elsewhere"),
    "audience empty": lambda f: f.sign(aud=""),
    "audience null": lambda f: f.sign(aud=None),
    "audience is the other one": lambda f: f.sign(aud=f.other.audience),
    "audience is a list": lambda f: f.sign(aud=[f.audience]),
    "audience is both": lambda f: f.sign(aud=[f.audience, f.other.audience]),
    "audience in capitals": lambda f: f.sign(aud=f.audience.upper()),
    "no issuer": lambda f: f.sign(iss=GONE),
    "issuer unknown": lambda f: f.sign(iss="mallory"),
    "issuer empty": lambda f: f.sign(iss=""),
    "issuer is a list": lambda f: f.sign(iss=["heartguard"]),
    "no type": lambda f: f.sign(typ=GONE),
    "type refresh": lambda f: f.sign(typ="refresh"),
    "type id": lambda f: f.sign(typ="id"),
    "type null": lambda f: f.sign(typ=None),
    "type of the other audience": lambda f: f.sign(typ=f.other.type),
    # --- when it counts
    "no expiry": lambda f: f.sign(exp=GONE),
    "expired": lambda f: f.sign(exp=int(time.time()) - 1),
    "expired at the beginning of time": lambda f: f.sign(exp=0),
    "expiry before any time": lambda f: f.sign(exp=-(10**12)),
    "expires in an hour": lambda f: f.sign(exp=int(time.time()) + HOUR),
    "expires in a thousand years": lambda f: f.sign(exp=int(time.time()) + 1000 * 365 * 24 * HOUR),
    "expiry of four hundred digits": lambda f: f.sign(exp=10**400),
    "expiry is infinite": lambda f: f.sign(exp=float("inf")),
    "expiry is 1e999": lambda f: f.sign(payload=f._json.replace(str(f.claims["exp"]).encode(), b"1e999")),
    "expiry is a text": lambda f: f.sign(exp="never"),
    "expiry is a number as a text": lambda f: f.sign(exp=str(f.claims["exp"])),
    "expiry null": lambda f: f.sign(exp=None),
    "no time of issue": lambda f: f.sign(iat=GONE),
    "issued in an hour": lambda f: f.sign(iat=int(time.time()) + HOUR),
    "issued at no number": lambda f: f.sign(iat=float("nan")),
    "issued at infinity": lambda f: f.sign(iat=float("-inf")),
    "issued at a text": lambda f: f.sign(iat="now"),
    "not valid before an hour has passed": lambda f: f.sign(nbf=int(time.time()) + HOUR),
    "not valid before a text": lambda f: f.sign(nbf="now"),
    # --- who it speaks of
    "no subject": lambda f: f.sign(sub=GONE),
    "subject null": lambda f: f.sign(sub=None),
    "subject empty": lambda f: f.sign(sub=""),
    "subject is a number": lambda f: f.sign(sub=1),
    "subject is a list": lambda f: f.sign(sub=[f.claims["sub"]]),
    "subject is an object": lambda f: f.sign(sub={"id": f.claims["sub"]}),
    "no id": lambda f: f.sign(jti=GONE),
    "id is a number": lambda f: f.sign(jti=7),
    "id is a list": lambda f: f.sign(jti=["7"]),
    "session is an object": lambda f: f.sign(sid={"id": "1"}),
    "scope is a list": lambda f: f.sign(scope=["enrolment"]),
    "organisation is no UUID": lambda f: f.sign(org_id="1 OR 1=1"),
    "organisation is all": lambda f: f.sign(org_id="all"),
    "organisation empty": lambda f: f.sign(org_id=""),
    "organisation is a number": lambda f: f.sign(org_id=0),
    "organisation is a list": lambda f: f.sign(org_id=[str(uuid4())]),
    # --- what it may do
    "roles are a text": lambda f: f.sign(roles="superadmin"),
    "roles are an object": lambda f: f.sign(roles={"superadmin": True}),
    "roles are numbers": lambda f: f.sign(roles=[7]),
    "roles null": lambda f: f.sign(roles=None),
    "permissions are a text": lambda f: f.sign(permissions="patient:read"),
    "permissions are an object": lambda f: f.sign(permissions={"patient:read": True}),
    "permissions are lists": lambda f: f.sign(permissions=[["patient:read"]]),
    "permissions are true": lambda f: f.sign(permissions=True),
    "superadmin written into a good token": lambda f: f.rewritten(roles=["superadmin"], extra=True),
    "another's organisation written into a good token": lambda f: f.rewritten(org_id=str(uuid4())),
    "another's id written into a good token": lambda f: f.rewritten(sub=str(uuid4())),
    "a longer life written into a good token": lambda f: f.rewritten(exp=f.claims["exp"] + 30),
    # --- the payload
    "payload is a list": lambda f: f.sign(payload=b"[]"),
    "payload is no JSON": lambda f: f.sign(payload=b"{sub}"),
    "payload empty": lambda f: f.sign(payload=b""),
    "payload is not UTF-8": lambda f: f.sign(payload=b"\xff\xfe" + f._json),
    "payload nested 600 deep": lambda f: f.sign(payload=f._json[:-1] + b',"x":' + _nested(600) + b"}"),
    "a zero byte in a claim": lambda f: f.sign(sub="a\0b"),
    "subject twice": lambda f: f.twice("sub", "somebody else"),
    "roles twice": lambda f: f.twice("roles", ["clinician"]),
    "audience twice": lambda f: f.twice("aud", "elsewhere"),
    "huge claims with another secret": lambda f: f.sign(roles=["x" * 4000], signature=f.hmac(b"z" * 40)),
    # --- the text
    "empty": lambda _: "",
    "no token at all": lambda _: "null",
    "dots only": lambda _: "..",
    "without its signature": lambda f: f.sign().rpartition(".")[0],
    "without its last character": lambda f: f.sign()[:-1],
    "without half of its signature": lambda f: f.sign()[:-22],
    "without its first character": lambda f: f.sign()[1:],
    "with a letter behind": lambda f: f.sign() + "x",
    "with a sign of padding behind": lambda f: f.sign() + "=",
    "with signs behind": lambda f: f.sign() + "!!",
    "with a dot behind": lambda f: f.sign() + ".",
    "with a fourth part": lambda f: f.sign() + ".e30",
    "with a second token behind a comma": lambda f: f"{f.sign()},{f.sign()}",
    "with a blank in it": lambda f: f.sign().replace(".", ". ", 1),
    "with its last bit turned": lambda f: _flipped(f.sign()),
    "in capitals": lambda f: f.sign().upper(),
    "backwards": lambda f: f.sign()[::-1],
    "with a letter outside ASCII": lambda f: f.sign() + "\xf1",
    "encrypted (five parts)": lambda f: ".".join([_encode(b'{"alg":"dir","enc":"A128GCM"}'), "", "AA", "AA", "AA"]),
    # --- other secrets of ours
    "an opaque refresh token": lambda _: secrets.token_urlsafe(32),
    "a device's credentials": lambda _: f"{uuid4().hex}.{secrets.token_urlsafe(32)}",
    "the signing secret itself": lambda f: f.secret.decode(),
}
