"""Forged tokens: none is accepted, whatever its shape."""

from __future__ import annotations

import base64
import json
import time

import jwt
import pytest

from common.auth import AUDIENCE, INTERNAL_AUDIENCE, TokenSigner, TokenVerifier, parse_keys
from common.config import Settings
from common.errors import ExpiredToken, InvalidToken

SECRET, INTERNAL_SECRET = "a" * 40, "b" * 40


@pytest.fixture
def settings(monkeypatch):
    for name, value in {
        "JWT_SIGNING_KEYS": f"k2:{SECRET},k1:{'c' * 40}",
        "INTERNAL_SIGNING_KEYS": f"i1:{INTERNAL_SECRET}",
        "REDIS_URL": "redis://127.0.0.1:1",
        "HEARTGUARD_ENV_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    return Settings.load("patient")


def payload(**changes):
    now = int(time.time())
    made = {
        "sub": "00000000-0000-0000-0000-000000000001",
        "aud": AUDIENCE,
        "iss": "heartguard",
        "iat": now,
        "exp": now + 60,
        "jti": "1",
        "typ": "access",
        "permissions": ["patient:read"],
    } | changes
    return {key: value for key, value in made.items() if value is not None}


def sign(secret=SECRET, algorithm="HS256", kid="k2", headers=None, **changes):
    return jwt.encode(payload(**changes), secret, algorithm, headers={"kid": kid, **(headers or {})})


def unsigned():
    encode = lambda part: base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")  # noqa: E731
    return f"{encode({'alg': 'none', 'kid': 'k2'})}.{encode(payload())}."


FORGED = {
    "no token": lambda: "",
    "not a token": lambda: "abc.def.ghi",
    "alg none": unsigned,
    "other algorithm": lambda: sign(algorithm="HS512", secret=SECRET * 2),
    "other secret": lambda: sign(secret="z" * 40),
    "unknown kid": lambda: sign(kid="k9"),
    "kid of the other key": lambda: sign(kid="k1"),
    "kid is a path": lambda: sign(kid="../../dev/null"),
    "wrong audience": lambda: sign(aud="another"),
    "audience list": lambda: sign(aud=[AUDIENCE, "another"]),
    "wrong issuer": lambda: sign(iss="another"),
    "wrong type": lambda: sign(typ="refresh"),
    "service type": lambda: sign(typ="service"),
    "no type": lambda: sign(typ=None),
    "no expiry": lambda: sign(exp=None),
    "no subject": lambda: sign(sub=None),
    "no audience": lambda: sign(aud=None),
    "no issuer": lambda: sign(iss=None),
    "no id": lambda: sign(jti=None),
    "no issue time": lambda: sign(iat=None),
    "issued in the future": lambda: sign(iat=int(time.time()) + 3600),
    "organisation is no uuid": lambda: sign(org_id="1 OR 1=1"),
    "internal audience": lambda: sign(
        secret=INTERNAL_SECRET, kid="i1", aud=INTERNAL_AUDIENCE, typ="service", sub="service:auth"
    ),
    "internal audience, user's key": lambda: sign(aud=INTERNAL_AUDIENCE, typ="service"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused(settings, name):
    with pytest.raises(InvalidToken):
        TokenVerifier(settings).verify(FORGED[name]())


def test_a_users_token_is_no_services_token(settings):
    token = TokenSigner(settings, AUDIENCE).sign("x", seconds=60)
    verifier = TokenVerifier(settings)
    assert verifier.verify(token).audience == AUDIENCE
    with pytest.raises(InvalidToken):
        verifier.verify(token, INTERNAL_AUDIENCE)


def test_the_older_key_still_verifies(settings):
    assert TokenVerifier(settings).verify(sign(secret="c" * 40, kid="k1")).subject


def test_a_remembered_token_still_expires(settings):
    token = sign(exp=int(time.time()) + 1)
    verifier = TokenVerifier(settings)
    verifier.verify(token)
    time.sleep(1.1)
    with pytest.raises(ExpiredToken):
        verifier.verify(token)


@pytest.mark.parametrize("entry", ["k1", "k1:", ":secret", "k1:short"])
def test_a_weak_or_malformed_key_stops_the_start(entry):
    with pytest.raises(ValueError, match="key"):
        parse_keys([entry], "HS256")


def test_a_token_made_at_the_end_of_a_second_is_not_from_the_next(settings, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.9997)
    token = TokenSigner(settings, AUDIENCE).sign("somebody", seconds=60)
    assert int(jwt.decode(token, options={"verify_signature": False})["iat"]) == 1_800_000_000
