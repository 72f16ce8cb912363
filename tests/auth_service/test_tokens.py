"""Access tokens: which are believed, how the keys behind them change, and which secrets a hash hides."""

from __future__ import annotations

import importlib
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import jwt
import pytest

from common.errors import InvalidToken
from common.tokens import AUDIENCE, TokenSigner, TokenVerifier

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


def test_rotation_logs_nobody_out(auth, keys):
    settings = auth.service.settings
    first = settings.jwt_signing_keys
    both = keys.lengthened(first, "HS256", NOW)
    new = keys.turned(both)
    assert (both[0], new[1:]) == (first[0], first)
    before, meanwhile, after = (replace(settings, jwt_signing_keys=ring) for ring in (first, both, new))
    for signer in (before, meanwhile, after):
        token = TokenSigner(signer, AUDIENCE).sign("x", seconds=60)
        for verifier in (meanwhile, after):
            assert TokenVerifier(verifier).verify(token).subject == "x"
    with pytest.raises(InvalidToken):  # why a new key is accepted before it signs
        TokenVerifier(before).verify(TokenSigner(after, AUDIENCE).sign("x", seconds=60))


def test_old_keys_go_when_no_token_of_theirs_can_live(keys):
    ring = keys.turned(keys.lengthened(["k1:" + "x" * 43], "HS256", NOW))
    with pytest.raises(keys.RingError):
        keys.shortened(ring, NOW, 900, NOW + 899)
    assert keys.shortened(ring, NOW, 900, NOW + 900) == ring[:1]
    with pytest.raises(keys.RingError):  # the one behind signs nothing yet
        keys.shortened(keys.lengthened(ring, "HS256", NOW + 5000), NOW, 900, NOW + 9000)


def test_two_keys_of_one_second_have_two_names(keys):
    ring = keys.turned(keys.lengthened([], "HS256", NOW))
    assert len({keys.kid_of(key) for key in keys.lengthened(ring, "HS256", NOW)}) == 2


def test_key_pairs_sign_and_verify(auth, keys, tmp_path):
    for algorithm in ("EdDSA", "RS256"):
        folder = tmp_path / algorithm
        folder.mkdir()
        ring = keys.lengthened([], algorithm, NOW, folder)
        settings = replace(auth.service.settings, jwt_signing_keys=ring, jwt_algorithm=algorithm)
        token = TokenSigner(settings, AUDIENCE).sign("x", seconds=60)
        assert jwt.get_unverified_header(token)["alg"] == algorithm
        private = Path(ring[0].partition(":")[2])
        assert private.stat().st_mode & 0o077 == 0
        private.unlink()  # who verifies needs the public half only
        assert TokenVerifier(settings).verify(token).subject == "x"


def test_rotate_changes_one_line_of_the_settings(keys, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("JWT_SIGNING_KEYS", raising=False)
    env = tmp_path / ".env"
    old = "k1:" + "x" * 43
    env.write_text(f"# mine\nJWT_SIGNING_KEYS={old}\nLOG_LEVEL=INFO\n")
    env.chmod(0o600)
    monkeypatch.setenv("HEARTGUARD_ENV_FILE", str(env))
    assert keys.main(["rotate"]) == 0
    lines = env.read_text().splitlines()
    assert (lines[0], lines[2]) == ("# mine", "LOG_LEVEL=INFO")
    assert lines[1].startswith(f"JWT_SIGNING_KEYS={old},k")
    assert env.stat().st_mode & 0o777 == 0o600
    secret = lines[1].rpartition(":")[2]
    assert keys.main(["rotate"]) == 0
    assert env.read_text().splitlines()[1].endswith(f":{secret},{old}")
    assert keys.main(["finish"]) == 1
    assert secret not in "".join(capsys.readouterr())
    assert keys.main([]) == 64
