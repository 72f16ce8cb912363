"""Access tokens: which are believed, how the keys behind them change, and which secrets a hash hides."""

from __future__ import annotations

import importlib
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import jwt
import pytest

from common.auth import AUDIENCE, TokenSigner, TokenVerifier
from common.errors import InvalidToken

NOW = int(time.time())


def test_other_tokens_are_no_access_tokens(auth, account):
    luz = account("clinician").login()
    for token in (luz.refresh_token, luz.device_token, luz.access_token[:-2], luz.access_token + "x", "", "a.b.c"):
        assert auth.call("GET", "/auth/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    basic = auth.call("GET", "/auth/me", headers={"Authorization": f"Basic {luz.access_token}"})
    assert basic.status_code == 401


def test_service_tokens_act_for_no_user(auth):
    token = auth.service_token("gateway", uuid4())
    for method, path in (("GET", "/auth/me"), ("POST", "/auth/logout"), ("POST", "/auth/logout-all")):
        assert auth.call(method, path, token).status_code == 401, path


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def keys():
    return importlib.import_module("auth_service.keys")


def ring_of(settings, entries: str):
    return replace(settings, jwt_signing_keys=entries.split(","))


def test_rotation_logs_nobody_out(auth, keys):
    settings = auth.service.settings
    before = ",".join(settings.jwt_signing_keys)
    after = keys.rotated(before, "HS256", NOW)
    assert after.split(",")[1:] == [before]
    old = TokenSigner(settings, AUDIENCE).sign("x", seconds=60)
    new = TokenSigner(ring_of(settings, after), AUDIENCE).sign("x", seconds=60)
    assert jwt.get_unverified_header(new)["kid"] != jwt.get_unverified_header(old)["kid"]
    verifier = TokenVerifier(ring_of(settings, after))
    assert verifier.verify(old).subject == verifier.verify(new).subject == "x"
    with pytest.raises(InvalidToken):
        TokenVerifier(settings).verify(new)


def test_a_key_goes_when_no_token_of_it_can_live(keys):
    first = keys.rotated("k1:" + "x" * 43, "HS256", NOW)
    soon = keys.rotated(first, "HS256", NOW + 60).split(",")
    assert len(soon) == 3  # k1 signed until a minute ago
    later = keys.rotated(first, "HS256", NOW + 3600).split(",")
    assert later[1:] == first.split(",")[:1]


def test_key_pairs_sign_and_verify(auth, keys, tmp_path):
    for algorithm in ("EdDSA", "RS256"):
        folder = tmp_path / algorithm
        folder.mkdir()
        entries = keys.rotated("", algorithm, NOW, folder)
        settings = replace(ring_of(auth.service.settings, entries), jwt_algorithm=algorithm)
        token = TokenSigner(settings, AUDIENCE).sign("x", seconds=60)
        assert jwt.get_unverified_header(token)["alg"] == algorithm
        private = Path(entries.partition(":")[2])
        assert private.stat().st_mode & 0o077 == 0
        private.unlink()  # who verifies needs the public half only
        assert TokenVerifier(settings).verify(token).subject == "x"


def test_rotate_changes_one_line_of_the_settings(keys, tmp_path, monkeypatch, capsys):
    env = tmp_path / ".env"
    env.write_text("# mine\nJWT_SIGNING_KEYS=k1:" + "x" * 43 + "\nLOG_LEVEL=INFO\n")
    env.chmod(0o600)
    monkeypatch.setenv("HEARTGUARD_ENV_FILE", str(env))
    assert keys.main(["rotate"]) == 0
    lines = env.read_text().splitlines()
    assert (lines[0], lines[2]) == ("# mine", "LOG_LEVEL=INFO")
    assert lines[1].startswith("JWT_SIGNING_KEYS=k") and lines[1].endswith(",k1:" + "x" * 43)
    assert env.stat().st_mode & 0o777 == 0o600
    secret = lines[1].split(",")[0].partition(":")[2]
    assert secret not in capsys.readouterr().out
    assert keys.main([]) == 64
