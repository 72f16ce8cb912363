"""Passwords changed and lost, second factors, the first superadmin: and none of it readable anywhere."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import argon2
import pyotp
import pytest
from sqlalchemy import create_engine, text

from auth_service.queries import find_user_by_email
from common.config import ROOT, SERVICES
from common.database import ALL_ORGANIZATIONS

NEW = "cuatro perros bajo la mesa"


def mails(auth, user_id: UUID) -> list[dict]:
    """The letters queued for a user."""
    return [event["data"] for event in auth.outbox("account.mail") if event["data"]["user_id"] == str(user_id)]


def letter(auth, mail: dict, org_id: UUID | None):
    """What notification_service would be told to write."""
    return auth.call("GET", f"/internal/account-mails/{mail['account_mail_id']}", auth.service_token("x", org_id))


# --- passwords -------------------------------------------------------------------------------------------------------


def test_changing_the_password_closes_the_other_sessions(account):
    luz = account("clinician").login()
    elsewhere = luz.refresh_token
    luz.login()
    body = {"current_password": luz.password, "password": NEW}
    assert luz.call("POST", "/auth/password/change", body).status_code == 204
    assert luz.is_let_in
    assert luz.try_refresh().status_code == 200
    assert luz.try_refresh(elsewhere).status_code == 401
    assert luz.try_login().status_code == 401
    assert luz.try_login(password=NEW).status_code == 200
    assert luz.auth.audited(luz.org_id).count("user.password_changed") == 1
    assert [mail["kind"] for mail in mails(luz.auth, luz.id)] == ["password_changed"]


def test_changing_the_password_takes_the_one_in_force_and_a_good_one(account):
    luz = account("clinician").login()
    wrong = luz.call("POST", "/auth/password/change", {"current_password": "not this", "password": NEW})
    assert wrong.json["error"]["id"] == "HG-AUTH-003"
    weak = luz.call("POST", "/auth/password/change", {"current_password": luz.password, "password": "password1234"})
    assert weak.json["error"]["details"] == [{"field": "password", "issue": "demasiado débil o filtrada"}]
    assert luz.try_login().status_code == 200


def test_guessing_the_password_with_a_stolen_token_is_locked_like_a_login(account):
    luz = account("clinician").login()
    body = {"current_password": "not the right one", "password": NEW}
    answers = [luz.call("POST", "/auth/password/change", body).status_code for _ in range(11)]
    assert answers == [401] * 10 + [423]


def test_a_lost_password_is_set_anew_with_the_letter_once(auth, account):
    luz = account("clinician", language="en").login()
    assert auth.call("POST", "/auth/password/forgot", json={"email": luz.email}).status_code == 204
    (mail,) = mails(auth, luz.id)
    told = letter(auth, mail, luz.org_id).json["data"]
    assert (told["kind"], told["email"], told["language"]) == ("password_reset", luz.email, "en")
    body = {"token": told["token"], "password": NEW}
    assert auth.call("POST", "/auth/password/reset", json=body).status_code == 204
    assert not luz.is_let_in
    assert luz.try_refresh().status_code == 401
    assert luz.try_login(password=NEW).status_code == 200
    again = auth.call("POST", "/auth/password/reset", json=body)
    assert (again.status_code, again.json["error"]["id"]) == (400, "HG-AUTH-008")
    assert letter(auth, mail, luz.org_id).status_code == 404  # nothing to send any more
    assert auth.audited(luz.org_id)[-3:-1] == ["user.password_reset_requested", "user.password_reset"]


def test_a_letter_is_for_its_organisation_only(auth, account):
    luz = account("clinician")
    auth.call("POST", "/auth/password/forgot", json={"email": luz.email})
    (mail,) = mails(auth, luz.id)
    assert letter(auth, mail, uuid4()).status_code == letter(auth, mail, None).status_code == 404
    assert letter(auth, mail, luz.org_id).status_code == 200


def test_parallel_resets_with_one_token_set_one_password(auth, account):
    luz = account("clinician")
    auth.call("POST", "/auth/password/forgot", json={"email": luz.email})
    token = letter(auth, mails(auth, luz.id)[0], luz.org_id).json["data"]["token"]
    passwords = [f"{NEW} {number}" for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        body = ({"token": token, "password": password} for password in passwords)
        answers = list(pool.map(lambda json: auth.call("POST", "/auth/password/reset", json=json).status_code, body))
    assert sorted(answers) == [204] + [400] * 5
    assert luz.try_login(password=passwords[answers.index(204)]).status_code == 200


@pytest.mark.parametrize(
    "spoil", [lambda token: token[:-1] + "?", lambda token: f"{uuid4().hex}.{token[33:]}", str.upper]
)
def test_a_forged_reset_token_is_refused(auth, account, spoil):
    luz = account("clinician")
    auth.call("POST", "/auth/password/forgot", json={"email": luz.email})
    token = letter(auth, mails(auth, luz.id)[0], luz.org_id).json["data"]["token"]
    for forged in (spoil(token), "", "x.y", "."):
        answer = auth.call("POST", "/auth/password/reset", json={"token": forged or "-", "password": NEW})
        assert (answer.status_code, answer.json["error"]["id"]) == (400, "HG-AUTH-008")


def test_an_expired_reset_token_is_refused(auth, account):
    luz = account("clinician")
    auth.call("POST", "/auth/password/forgot", json={"email": luz.email})
    token = letter(auth, mails(auth, luz.id)[0], luz.org_id).json["data"]["token"]
    with auth.database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.execute(text("UPDATE account_mails SET expires_at = now() WHERE user_id = :id"), {"id": luz.id})
    assert auth.call("POST", "/auth/password/reset", json={"token": token, "password": NEW}).status_code == 400


def test_a_link_mailed_to_an_address_that_was_changed_is_worthless(auth, account, admin):
    luz = account("clinician")
    auth.call("POST", "/auth/password/forgot", json={"email": luz.email})
    token = letter(auth, mails(auth, luz.id)[0], luz.org_id).json["data"]["token"]
    auth.call("PATCH", f"/auth/users/{luz.id}", admin, json={"email": f"{uuid4().hex}@clinic.test"})
    assert auth.call("POST", "/auth/password/reset", json={"token": token, "password": NEW}).status_code == 400


def test_forgetting_is_silent_about_unknown_addresses_and_does_not_flood(auth, account):
    assert auth.call("POST", "/auth/password/forgot", json={"email": f"{uuid4().hex}@no.test"}).status_code == 204
    luz = account("clinician")
    for _ in range(5):
        assert auth.call("POST", "/auth/password/forgot", json={"email": luz.email}).status_code == 204
    assert len(mails(auth, luz.id)) == 3


def test_a_reset_lets_the_owner_back_in_after_a_lockout(auth, account):
    luz = account("clinician")
    for _ in range(10):
        luz.try_login(password="not the right one")
    auth.call("POST", "/auth/password/forgot", json={"email": luz.email})
    token = letter(auth, mails(auth, luz.id)[0], luz.org_id).json["data"]["token"]
    auth.call("POST", "/auth/password/reset", json={"token": token, "password": NEW})
    assert luz.try_login(password=NEW).status_code == 200


# --- second factor ---------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(account, monkeypatch):
    """An account with a second factor; `code()` is a fresh one each time, as if half a minute had passed."""
    luz = account("clinician").login()
    enrolment = luz.call("POST", "/auth/totp/enrol", {"password": luz.password}).json["data"]
    assert enrolment["uri"].startswith("otpauth://totp/HeartGuard:")
    second_factor = importlib.import_module("auth_service.second_factor")
    moment = [time.time()]
    monkeypatch.setattr(second_factor, "time", SimpleNamespace(time=lambda: moment[0]))

    def code() -> str:
        moment[0] += 30
        return pyotp.TOTP(enrolment["secret"]).at(moment[0])

    luz.code = code
    luz.recovery_codes = luz.call("POST", "/auth/totp/confirm", {"code": code()}).json["data"]["recovery_codes"]
    return luz


def test_enrolling_takes_the_password(account):
    luz = account("clinician").login()
    assert luz.call("POST", "/auth/totp/enrol", {"password": "not this"}).json["error"]["id"] == "HG-AUTH-003"


def test_an_unconfirmed_second_factor_asks_for_nothing(account):
    luz = account("clinician").login()
    luz.call("POST", "/auth/totp/enrol", {"password": luz.password})
    assert luz.call("POST", "/auth/totp/confirm", {"code": "000000"}).json["error"]["id"] == "HG-AUTH-003"
    assert luz.try_login().status_code == 200


def test_login_asks_for_the_second_factor(guarded):
    answer = guarded.try_login()
    assert (answer.status_code, answer.json["error"]["id"]) == (401, "HG-AUTH-007")
    assert guarded.try_login(code="123456").json["error"]["id"] == "HG-AUTH-003"
    code = guarded.code()
    assert guarded.try_login(code=code).status_code == 200
    assert guarded.try_login(code=code).json["error"]["id"] == "HG-AUTH-003"  # overheard
    assert guarded.login(code=guarded.code()).call("GET", "/auth/me").json["data"]["second_factor"] is True


def test_an_outdated_hash_is_renewed_only_after_both_factors(auth, guarded):
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(guarded.password)
    with auth.database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.execute(text("UPDATE users SET password_hash = :old WHERE id = :id"), {"old": old, "id": guarded.id})
    assert guarded.try_login().json["error"]["id"] == "HG-AUTH-007"
    assert guarded.try_login(code=guarded.code()).status_code == 200


def test_guessing_codes_locks_although_the_password_is_right(guarded):
    for _ in range(9):
        guarded.try_login(code="000000")
    assert guarded.try_login().status_code == 401  # the password alone forgives nothing
    guarded.try_login(code="000000")
    assert guarded.try_login(code=guarded.code()).status_code == 423


def test_a_recovery_code_serves_once(guarded):
    assert len(set(guarded.recovery_codes)) == 10
    code = guarded.recovery_codes[3]
    assert guarded.try_login(code=code.upper()).status_code == 200
    assert guarded.try_login(code=code).status_code == 401


def test_the_second_factor_goes_with_both_factors_only(guarded):
    body = {"password": guarded.password, "code": "000000"}
    assert guarded.call("POST", "/auth/totp/disable", body).json["error"]["id"] == "HG-AUTH-003"
    assert guarded.call("POST", "/auth/totp/enrol", {"password": guarded.password}).status_code == 409
    assert guarded.call("POST", "/auth/totp/disable", body | {"code": guarded.code()}).status_code == 204
    assert guarded.try_login().status_code == 200
    assert guarded.call("POST", "/auth/totp/disable", body).json["error"]["id"] == "HG-AUTH-010"


# --- the first superadmin --------------------------------------------------------------------------------------------


def test_the_first_superadmin_is_made_once(auth):
    bootstrap = importlib.import_module("auth_service.bootstrap")
    with pytest.raises(InterruptedError), auth.database.transaction(ALL_ORGANIZATIONS) as session:
        session.execute(text("DELETE FROM user_roles"))  # rolled back below: other tests have a superadmin too
        assert bootstrap.make_superadmin(session, "first@ops.test", "x") is True
        assert find_user_by_email(session, "first@ops.test").roles == ["superadmin"]
        assert bootstrap.make_superadmin(session, "second@ops.test", "x") is False
        assert find_user_by_email(session, "second@ops.test") is None
        raise InterruptedError


def test_a_superadmin_is_let_back_in_from_the_shell(auth, account, admin, superadmin, capsys, monkeypatch):
    bootstrap = importlib.import_module("auth_service.bootstrap")
    chief = account("org_admin").login()
    monkeypatch.setenv("SUPERADMIN_EMAIL", chief.email)
    with pytest.raises(SystemExit, match="no superadmin has the address"):
        bootstrap.main(["--reset-password"])
    auth.call("PUT", f"/auth/users/{chief.id}/roles/superadmin?org_id={admin.org_id}", superadmin)
    assert bootstrap.main([]) == 0
    assert "password" not in capsys.readouterr().out
    assert bootstrap.main(["--reset-password"]) == 0
    printed = capsys.readouterr().out
    assert chief.email in printed
    assert chief.try_refresh().status_code == 401
    chief.password = re.search(r"password \(shown once\): (\S+)", printed)[1]
    assert chief.login().claims.roles == {"org_admin", "superadmin"}
    assert bootstrap.main(["--what"]) == 64


# --- canary ----------------------------------------------------------------------------------------------------------


def test_no_secret_is_readable_in_postgresql_redis_or_logs(auth, servers, tmp_path):
    notes = tmp_path / "secrets.json"
    script = Path(__file__).parent / "canary_client.py"
    run = subprocess.run(
        [sys.executable, script, notes], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    noted = json.loads(notes.read_text())
    assert len(noted["secrets"]) > 20
    logs = run.stdout + run.stderr
    assert logs.count('"event":"request"') > 10
    stored = dump_postgresql(servers)
    assert noted["personal"][0] in stored  # the search would find what is there
    importlib.import_module("auth_service.tasks").mirror_revocations(auth.database, auth.service.revocations)
    redis = dump_redis(auth)
    assert "revoked:session:" in redis
    for secret in noted["secrets"]:
        assert secret not in stored
        assert secret not in redis
        assert secret not in logs
    for personal in noted["personal"]:
        assert personal not in logs
        assert personal not in redis


def dump_postgresql(servers) -> str:
    """Every row of every table of every schema as text, bytes also decoded."""
    parts = []
    engine = create_engine(servers.postgres.url)
    with engine.connect() as connection:  # as the superuser, whom row-level security does not bind
        tables = connection.execute(
            text("SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(:schemas)"),
            {"schemas": list(SERVICES)},
        )
        for schema, table in tables.all():
            for row in connection.execute(text(f'SELECT * FROM "{schema}"."{table}"')):
                parts += [bytes(v).decode("latin-1") if isinstance(v, bytes | memoryview) else str(v) for v in row]
    engine.dispose()
    return "\n".join(parts)


def dump_redis(auth) -> str:
    """Every key of Redis with its value."""
    client = auth.service.redis
    return "\n".join(f"{key.decode()}={client.dump(key)!r}" for key in client.scan_iter())
