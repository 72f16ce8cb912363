"""Logging in, renewing and logging out: one successor per token, and nothing that was revoked passes."""

from __future__ import annotations

import importlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import argon2
import pytest
from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS
from common.errors import Unavailable
from common.tasks import TaskRunner, registry
from common.tokens import AUDIENCE, TokenVerifier


def age(auth, statement: str, **values) -> None:
    """Change a time in the database, as if it had passed."""
    with auth.database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.execute(text(statement), values)


def test_a_refresh_whose_answer_was_lost_comes_again_under_its_key_alone(auth, registered):
    """Long after the ten seconds that any client has, without a word of it in the database."""
    luz = registered.login()
    body, key = {"refresh_token": luz.refresh_token}, {"Idempotency-Key": str(uuid4())}
    first = auth.call("POST", "/auth/refresh", json=body, headers=key)
    age(auth, "UPDATE refresh_tokens SET used_at = used_at - interval '1 minute' WHERE used_at IS NOT NULL")
    again = auth.call("POST", "/auth/refresh", json=body, headers=key)
    assert (again.status_code, again.json) == (200, first.json)
    assert luz._keep(again).is_let_in
    stolen = auth.call("POST", "/auth/refresh", json=body, headers={"Idempotency-Key": str(uuid4())})
    assert stolen.json["error"]["id"] == "HG-AUTH-004"
    assert not luz.is_let_in


def test_login_answers_tokens_and_the_user(account, admin):
    luz = account("clinician")
    data = luz.try_login(platform="android", client_id="app 1.0").json["data"]
    assert (data["token_type"], data["expires_in"]) == ("Bearer", 900)
    assert data["user"]["email"] == luz.email
    assert data["user"]["roles"] == ["clinician"]
    assert "password_hash" not in data["user"]
    claims = TokenVerifier(luz.auth.service.settings).verify(data["access_token"], AUDIENCE)
    assert (claims.subject, claims.org_id) == (str(luz.id), admin.org_id)
    assert "patient:read" in claims.permissions
    assert luz.auth.audited(admin.org_id) == ["user.created", "session.opened"]


def test_login_in_xml(account):
    luz = account("clinician")
    body = f"<login><email>{luz.email}</email><password>{luz.password}</password></login>"
    headers = {"Content-Type": "application/xml", "Accept": "application/xml"}
    answer = luz.auth.call("POST", "/auth/login", headers=headers, data=body)
    assert answer.status_code == 200
    assert "<access_token>" in answer.text


def test_me_says_what_one_may(account):
    me = account("caregiver").login().call("GET", "/auth/me").json["data"]
    assert me["roles"] == ["caregiver"]
    assert "alert:ack" in me["permissions"]
    assert me["second_factor"] is False


def test_a_wrong_password_and_an_unknown_address_look_the_same(auth, account, monkeypatch):
    luz = account("clinician")
    hashes = []
    hasher = auth.service.resources["hasher"]
    verify = type(hasher).verify
    monkeypatch.setattr(
        type(hasher), "verify", lambda self, stored, password: hashes.append(stored) or verify(self, stored, password)
    )
    wrong = luz.try_login(password="not the right one")
    unknown = luz.try_login(email=f"{uuid4().hex}@nowhere.test")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json["error"]["id"] == unknown.json["error"]["id"] == "HG-AUTH-003"
    assert len(hashes) == 2 and hashes[1] is None  # one hash each, the second against nobody's
    assert auth.audited(luz.org_id)[-1] == "login.failed"


def test_a_blocked_account_is_told_only_with_its_password(account, admin):
    luz = account("clinician")
    luz.auth.call("PUT", f"/auth/users/{luz.id}/status", admin, json={"status": "blocked"})
    assert luz.try_login(password="not the right one").json["error"]["id"] == "HG-AUTH-003"
    answer = luz.try_login()
    assert (answer.status_code, answer.json["error"]["id"]) == (403, "HG-AUTH-006")


def test_outdated_hashes_are_renewed_at_login(auth, account):
    luz = account("clinician")
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(luz.password)
    age(auth, "UPDATE users SET password_hash = :old WHERE id = :id", old=old, id=luz.id)
    luz.login()
    with auth.database.transaction(ALL_ORGANIZATIONS) as session:
        stored = session.execute(text("SELECT password_hash FROM users WHERE id = :id"), {"id": luz.id}).scalar_one()
    assert stored.startswith("$argon2id$v=19$m=47104,t=1,p=1$")
    luz.login()


# --- lockout ---------------------------------------------------------------------------------------------------------


def fail(luz, times: int, **changes):
    return [luz.try_login(password="not the right one", **changes).status_code for _ in range(times)]


def test_ten_failures_lock_the_account_and_say_until_when(account):
    luz = account("clinician")
    assert fail(luz, 10) == [401] * 10
    answer = luz.try_login()
    assert (answer.status_code, answer.json["error"]["id"]) == (423, "HG-AUTH-005")
    assert 890 <= int(answer.headers["Retry-After"]) <= 901
    actions = luz.auth.audited(luz.org_id)
    assert actions.count("login.failed") == 10
    assert actions.count("login.locked") == 1


def test_an_unknown_address_is_locked_alike(auth, account):
    nobody = account("clinician")
    nobody.email = f"{uuid4().hex}@nowhere.test"
    assert fail(nobody, 11) == [401] * 10 + [423]


def test_a_device_that_the_account_knows_is_not_locked_out_with_the_guesser(account):
    luz = account("clinician").login()
    assert fail(luz, 11) == [401] * 10 + [423]
    assert luz.try_login(device_token=luz.device_token).status_code == 200
    assert luz.try_login(device_token="x" * 20 + "." + "y" * 43).status_code == 423
    stranger = account("clinician").login()
    assert luz.try_login(device_token=stranger.device_token).status_code == 423


def test_a_device_has_ten_failures_of_its_own(account):
    luz = account("clinician").login()
    assert fail(luz, 11, device_token=luz.device_token) == [401] * 10 + [423]
    assert luz.try_login().status_code == 200


def test_failures_are_forgotten_with_time_and_with_success(auth, account):
    luz = account("clinician")
    fail(luz, 9)
    luz.login()
    assert fail(luz, 9) == [401] * 9
    age(auth, "UPDATE login_failures SET since = since - interval '16 minutes'")
    assert fail(luz, 9) == [401] * 9
    assert fail(luz, 1) == [401]
    age(auth, "UPDATE login_failures SET locked_until = now() - interval '1 second', since = now() - interval '16 min'")
    assert luz.try_login().status_code == 200


def test_parallel_guesses_are_all_counted(account):
    luz = account("clinician")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: fail(luz, 2), range(8)))
    assert luz.try_login().status_code == 423
    assert sum(answers, []).count(401) >= 10
    assert luz.auth.audited(luz.org_id).count("login.locked") == 1


# --- renewing --------------------------------------------------------------------------------------------------------


def test_a_refresh_token_serves_once_and_brings_a_successor(account):
    luz = account("clinician").login()
    first, access = luz.refresh_token, luz.access_token
    luz.refresh()
    assert luz.refresh_token != first and luz.access_token != access
    luz.refresh()
    assert luz.is_let_in
    assert luz.auth.audited(luz.org_id)[-2:] == ["session.renewed"] * 2


ROUNDS = 200 if os.environ.get("HEARTGUARD_LONG") else 20


def test_fifty_parallel_refreshes_have_one_successor_each_time(account):
    luz = account("clinician").login()
    with ThreadPoolExecutor(50) as pool:
        for _ in range(ROUNDS):
            answers = list(pool.map(luz.try_refresh, [luz.refresh_token] * 50))
            renewed = [answer for answer in answers if answer.status_code == 200]
            assert {answer.status_code for answer in answers} <= {200, 503}  # no connection free within a second
            (luz.refresh_token,) = {answer.json["data"]["refresh_token"] for answer in renewed}
    assert luz.auth.audited(luz.org_id).count("session.renewed") == ROUNDS


@pytest.fixture
def mirroring(auth):
    """The worker's task that tells Redis of revocations, woken by PostgreSQL as in the worker."""
    tasks = importlib.import_module("auth_service.tasks")
    (item,) = [item for item in registry if item.run is tasks.mirror_revocations]
    stopping = threading.Event()
    runner = TaskRunner(auth.database, item, lambda: item.run(auth.database, auth.service.revocations), stopping)
    thread = threading.Thread(target=runner.run)
    thread.start()
    yield
    stopping.set()
    thread.join()


@pytest.mark.usefixtures("mirroring")
def test_reuse_in_parallel_closes_the_session_once_and_soon(auth, account):
    luz = account("clinician").login()
    stolen, session_id = luz.refresh_token, UUID(luz.claims.session_id)
    luz.refresh()
    assert luz.call("GET", "/auth/me").status_code == 200
    age(auth, "UPDATE refresh_tokens SET used_at = used_at - interval '11 seconds' WHERE session_id = :s", s=session_id)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(luz.try_refresh, [stolen] * 20))
    assert {answer.status_code for answer in answers} == {401}
    assert luz.try_refresh().status_code == 401
    assert auth.audited(luz.org_id).count("session.reuse_detected") == 1
    until = time.monotonic() + 10
    while luz.call("GET", "/auth/me").status_code != 401:
        assert time.monotonic() < until, "the access token still opens doors"
        time.sleep(0.02)


def test_a_lost_answer_is_given_again_for_ten_seconds_even_after_the_successor_served(auth, account):
    luz = account("clinician").login()
    first = luz.refresh_token
    luz.refresh()
    second = luz.refresh_token
    luz.refresh()
    again = luz.try_refresh(first)
    assert (again.status_code, again.json["data"]["refresh_token"]) == (200, second)


def test_reuse_after_the_window_closes_the_session(auth, account):
    luz = account("clinician").login()
    other = account("clinician").login()
    stolen = luz.refresh_token
    luz.refresh()
    age(
        auth,
        "UPDATE refresh_tokens SET used_at = used_at - interval '11 seconds' WHERE session_id = :id",
        id=UUID(luz.claims.session_id),
    )
    answer = luz.try_refresh(stolen)
    assert (answer.status_code, answer.json["error"]["id"]) == (401, "HG-AUTH-004")
    assert luz.try_refresh().status_code == 401
    assert not luz.is_let_in
    assert other.is_let_in
    assert auth.audited(luz.org_id)[-1] == "session.reuse_detected"


def test_expired_unknown_and_malformed_refresh_tokens_are_refused(auth, account):
    luz = account("clinician").login()
    age(auth, "UPDATE refresh_tokens SET expires_at = now() WHERE session_id = :id", id=UUID(luz.claims.session_id))
    refused = [luz.try_refresh(token) for token in (luz.refresh_token, "x" * 43, "ñ", luz.access_token[:200])]
    assert {(answer.status_code, answer.json["error"]["id"]) for answer in refused} == {(401, "HG-AUTH-001")}


def test_claims_follow_the_roles_at_the_next_refresh(account, admin):
    luz = account("caregiver").login()
    assert "patient:write" not in luz.claims.permissions
    answer = luz.auth.call("PUT", f"/auth/users/{luz.id}/roles/clinician", admin)
    assert answer.json["data"]["roles"] == ["caregiver", "clinician"]
    assert not luz.is_let_in  # the old claims count no more
    luz.refresh()
    assert luz.is_let_in
    assert "patient:write" in luz.claims.permissions


# --- revoking --------------------------------------------------------------------------------------------------------


def test_logout_closes_this_session_only(account):
    luz = account("clinician").login()
    first = (luz.access_token, luz.refresh_token)
    luz.login()
    assert luz.call("POST", "/auth/logout").status_code == 204
    assert not luz.is_let_in
    assert luz.try_refresh().status_code == 401
    luz.access_token, luz.refresh_token = first
    assert luz.is_let_in
    assert luz.try_refresh().status_code == 200


def test_logout_all_closes_every_session(account):
    luz = account("clinician").login()
    first = luz.refresh_token
    luz.login()
    assert luz.call("POST", "/auth/logout-all").status_code == 204
    assert not luz.is_let_in
    assert [luz.try_refresh(token).status_code for token in (first, luz.refresh_token)] == [401, 401]
    luz.login()
    assert luz.is_let_in  # a later login counts


def test_sessions_are_listed_and_closed_by_their_owner_only(account):
    luz, eva = account("clinician").login(platform="ios"), account("clinician").login()
    listed = luz.call("GET", "/auth/sessions").json["data"]
    assert [item["platform"] for item in listed] == ["ios"]
    path = f"/auth/sessions/{listed[0]['id']}"
    assert eva.call("DELETE", path).status_code == 404
    assert luz.is_let_in
    assert luz.call("DELETE", path).status_code == 204
    assert not luz.is_let_in


def test_blocking_throws_out_at_once(account, admin):
    luz = account("clinician").login()
    luz.auth.call("PUT", f"/auth/users/{luz.id}/status", admin, json={"status": "blocked"})
    assert not luz.is_let_in
    assert luz.try_refresh().status_code == 401


def test_the_truth_about_revocations_is_in_the_database(auth, account):
    luz = account("clinician").login()

    def revoked(claims) -> bool:
        path = f"/internal/revocations/{claims.token_id}"
        query = {"session_id": claims.session_id, "subject": claims.subject, "issued_at": claims.issued_at}
        answer = auth.call("GET", path, auth.service_token("gateway"), query_string=query)
        return answer.json["data"]["revoked"]

    before = luz.claims
    assert revoked(before) is False
    luz.call("POST", "/auth/logout-all")
    assert revoked(before) is True
    assert revoked(luz.login().claims) is False
    assert auth.call("GET", f"/internal/revocations/{before.token_id}", luz.access_token).status_code == 401


def test_revocations_survive_a_redis_that_forgets_or_is_away(auth, account, monkeypatch):
    tasks = importlib.import_module("auth_service.tasks")
    luz = account("clinician").login()
    luz.call("POST", "/auth/logout")
    assert not luz.is_let_in
    auth.service.redis.flushdb()
    assert not luz.is_let_in

    def away(*_arguments, **_options):
        raise tasks.RedisError

    with monkeypatch.context() as patch:
        patch.setattr(type(auth.service.redis), "execute_command", away)
        with pytest.raises(Unavailable):
            tasks.mirror_revocations(auth.database, auth.service.revocations)


def test_what_has_run_out_is_forgotten(auth, account):
    tasks = importlib.import_module("auth_service.tasks")
    luz = account("clinician").login()
    session_id = UUID(luz.claims.session_id)
    luz.refresh()
    luz.call("POST", "/auth/logout")
    past = datetime.now(UTC) - timedelta(days=8)
    age(auth, "UPDATE refresh_tokens SET expires_at = :past WHERE session_id = :id", past=past, id=session_id)
    age(auth, "UPDATE sessions SET expires_at = :past WHERE id = :id", past=past, id=session_id)
    age(auth, "UPDATE revocations SET created_at = :past WHERE subject = :s", past=past, s=f"session:{session_id}")
    fresh = account("clinician").login()
    assert tasks.forget_expired(auth.database) == 0
    with auth.database.transaction(ALL_ORGANIZATIONS) as session:
        for table, column, value in (
            ("refresh_tokens", "session_id", session_id),
            ("sessions", "id", session_id),
            ("revocations", "subject", f"session:{session_id}"),
        ):
            left = session.execute(text(f"SELECT count(*) FROM {table} WHERE {column} = :value"), {"value": value})
            assert left.scalar_one() == 0, table
    assert fresh.try_refresh().status_code == 200
