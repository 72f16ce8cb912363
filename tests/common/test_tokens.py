"""What the verifier believes. The forged tokens of tests/support/forgery.py are tried at the doors themselves."""

from __future__ import annotations

import hmac
import json
import time
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.utils import base64url_encode

from common.config import Settings
from common.errors import ExpiredToken, InvalidToken
from common.tokens import AUDIENCE, INTERNAL_AUDIENCE, TokenSigner, TokenVerifier, parse_keys

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
    }
    return made | changes


def sign(secret=SECRET, algorithm="HS256", kid="k2", **changes):
    return jwt.encode(payload(**changes), secret, algorithm, headers={"kid": kid})


PAIRS = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@pytest.fixture(params=PAIRS)
def pair(request, settings, tmp_path):
    """Settings under which a key pair signs, and both halves of it."""
    key = PAIRS[request.param]()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "pair.pem").write_bytes(private)
    (tmp_path / "pair.pub.pem").write_bytes(public)
    keys = [f"pair:{tmp_path / 'pair.pem'}"]
    return replace(settings, jwt_algorithm=request.param, jwt_signing_keys=keys), private, public


def test_a_public_key_is_no_secret(pair):
    """Key confusion: what everybody may read must sign nothing, whatever algorithm the header names."""
    settings, private, public = pair
    verifier = TokenVerifier(settings)
    assert verifier.verify(sign(private, settings.jwt_algorithm, "pair")).subject
    for secret in (public, public.strip(), public.splitlines()[1]):
        for algorithm in ("HS256", settings.jwt_algorithm):
            head, claims = ({"alg": algorithm, "kid": "pair"}, payload())
            text = ".".join(base64url_encode(json.dumps(part).encode()).decode() for part in (head, claims))
            signature = base64url_encode(hmac.digest(secret, text.encode(), "sha256")).decode()
            with pytest.raises(InvalidToken):
                verifier.verify(f"{text}.{signature}")


def test_a_secret_of_services_signs_for_no_user_where_a_pair_does(pair):
    settings, _, _ = pair
    for kid in ("pair", "i1"):
        with pytest.raises(InvalidToken):
            TokenVerifier(settings).verify(sign(INTERNAL_SECRET, kid=kid))


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
