"""Every service runs in several replicas: nothing in one process that another needs."""

from __future__ import annotations

import ast
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import urllib3
from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS
from ops.native.servers.base import ROOT
from tests.support.services import Person
from tests.support.suite import Suite

WRITES = 200
PROMPTLY_S = 1.0
PATIENCE_S = 30.0


class Replicas:
    """Three web processes of patient, two of auth; two workers of patient and of audit, one of auth."""

    def __init__(self, servers: Any, folder: Any) -> None:
        self._pool = urllib3.PoolManager(maxsize=16, timeout=10, retries=False)
        self._suites: list[Suite] = []
        for number in range(3):
            own = folder / str(number)
            own.mkdir()
            self._suites.append(Suite(servers, own))
        one, two, three = self._suites
        try:
            for suite in (one, two):
                suite.start_workers("patient", "audit")
            one.start_workers("auth")
            with ThreadPoolExecutor(3) as starts:
                waits = [starts.submit(suite.start_web, "patient", "auth") for suite in (one, two)]
                waits.append(starts.submit(three.start_web, "patient"))
            for wait in waits:
                wait.result()
        except BaseException:
            self.stop()
            raise

    def call(
        self, service: str, replica: int, method: str, path: str, token: str = "", body: Any = None, **headers: str
    ) -> Any:
        """What one replica answers: `status`, `headers`, `json`."""
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            lines["Authorization"] = f"Bearer {token}"
        if body is not None:
            lines["Content-Type"] = "application/json"
        url = f"{self._suites[replica - 1].url(service)}{path}"
        answer = self._pool.request(method, url, body=None if body is None else json.dumps(body), headers=lines)
        return SimpleNamespace(
            status=answer.status, headers=answer.headers, json=answer.json() if answer.data else None
        )

    def stop(self) -> None:
        with ThreadPoolExecutor(3) as stops:
            list(stops.map(Suite.stop, self._suites))


@pytest.fixture(scope="module")
def replicas(servers, tmp_path_factory):
    started = Replicas(servers, tmp_path_factory.mktemp("replicas"))
    yield started
    started.stop()


@pytest.fixture
def token(service, clinician) -> str:
    return service("patient").token(clinician)


@pytest.fixture
def account(service, clinician):
    """Somebody who can log in: `id`, `credentials`, and the token of who may administer them."""
    credentials = {"email": f"{uuid4().hex}@heartguard.test", "password": uuid4().hex}
    administrator = service("auth").token(Person(clinician.org_id, roles=("superadmin",)))
    body = {**credentials, "name": "Ana", "roles": ["caregiver"]}
    made = service("auth").call("POST", "/auth/users", administrator, json=body)
    assert made.status_code == 201, made.text
    return SimpleNamespace(id=made.json["data"]["id"], credentials=credentials, administrator=administrator)


def log_in(replicas: Replicas, replica: int, account: Any) -> Any:
    answer = replicas.call("auth", replica, "POST", "/auth/login", body=account.credentials)
    assert answer.status == 200, answer.json
    return SimpleNamespace(**answer.json["data"])


def count_teams(service, org_id) -> int:
    with service("patient").database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        return session.execute(
            text("SELECT count(*) FROM care_teams WHERE org_id = :org"), {"org": org_id}
        ).scalar_one()


def seconds_until(condition: Any, patience: float) -> float:
    """How long it took until the condition held."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < patience, f"not within {patience} s"
        time.sleep(0.02)
    return time.monotonic() - started


def test_a_keyed_change_is_replayed_by_another_replica(replicas, service, clinician, token):
    key = uuid4().hex
    first, second = (
        replicas.call("patient", replica, "POST", "/care-teams", token, {"name": "Guardia"}, Idempotency_Key=key)
        for replica in (1, 2)
    )
    assert (first.status, second.status) == (201, 201)
    assert first.json["data"] == second.json["data"]
    assert "Idempotency-Replayed" not in first.headers and second.headers["Idempotency-Replayed"] == "true"
    assert count_teams(service, clinician.org_id) == 1


def test_one_key_at_all_replicas_at_once_has_one_effect(replicas, service, clinician, token):
    key = uuid4().hex

    def ask(replica: int) -> Any:
        return replicas.call("patient", replica, "POST", "/care-teams", token, {"name": "A"}, Idempotency_Key=key)

    with ThreadPoolExecutor(9) as clients:
        answers = list(clients.map(ask, [1, 2, 3] * 3))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["data"]["id"] for answer in answers}) == 1
    assert count_teams(service, clinician.org_id) == 1


def test_a_cursor_goes_on_at_another_replica(replicas, token):
    made = [
        replicas.call("patient", 1 + number % 3, "POST", "/care-teams", token, {"name": f"Equipo {number}"})
        for number in range(6)
    ]
    found, cursor = [], ""
    for replica in (1, 2, 3):
        page = replicas.call("patient", replica, "GET", f"/care-teams?limit=2{cursor}", token).json
        found += [team["id"] for team in page["data"]]
        cursor = f"&cursor={page['meta']['next_cursor']}"
    assert len(found) == 6 and set(found) == {answer.json["data"]["id"] for answer in made}


def test_a_tag_of_one_replica_is_honoured_by_another(replicas, token):
    path = replicas.call("patient", 1, "POST", "/care-teams", token, {"name": "Uno"}).headers["Location"]
    tag = replicas.call("patient", 1, "GET", path, token).headers["ETag"]
    assert replicas.call("patient", 2, "GET", path, token, If_None_Match=tag).status == 304
    assert replicas.call("patient", 2, "PUT", path, token, {"name": "Dos"}, If_Match=tag).status == 200
    assert replicas.call("patient", 3, "PUT", path, token, {"name": "Tres"}, If_Match=tag).status == 412
    assert replicas.call("patient", 1, "GET", path, token).json["data"]["name"] == "Dos"


def test_a_refresh_token_serves_at_another_replica_and_its_reuse_is_seen_at_both(replicas, service, account):
    first = log_in(replicas, 1, account).refresh_token

    def renew(replica: int, refresh_token: str) -> Any:
        return replicas.call("auth", replica, "POST", "/auth/refresh", body={"refresh_token": refresh_token})

    second = renew(2, first).json["data"]["refresh_token"]
    assert second != first
    third = renew(1, second).json["data"]["refresh_token"]
    # The first one was used longer ago than a lost answer explains.
    with service("auth").database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.execute(
            text(
                "UPDATE refresh_tokens SET used_at = used_at - interval '1 hour' WHERE session_id IN"
                " (SELECT id FROM sessions WHERE user_id = :user) AND used_at IS NOT NULL"
            ),
            {"user": account.id},
        )
    assert renew(2, first).json["error"]["id"] == "HG-AUTH-004"
    assert [renew(replica, third).status for replica in (1, 2)] == [401, 401]


def test_a_logout_at_one_replica_counts_at_the_others(replicas, account):
    access = log_in(replicas, 1, account).access_token

    def accepted(service: str, replica: int, path: str) -> bool:
        return replicas.call(service, replica, "GET", path, access).status == 200

    everywhere = (("patient", 2, "/patients"), ("patient", 3, "/patients"), ("auth", 2, "/auth/me"))
    assert all(accepted(*where) for where in everywhere)
    assert replicas.call("auth", 1, "POST", "/auth/logout", access).status < 300
    seconds_until(lambda: not any(accepted(*where) for where in everywhere), PROMPTLY_S)


def test_a_role_given_at_one_replica_counts_at_the_others(replicas, account):
    session = log_in(replicas, 2, account)
    team = {"name": "Guardia"}
    assert replicas.call("patient", 2, "POST", "/care-teams", session.access_token, team).status == 403
    granted = replicas.call("auth", 1, "PUT", f"/auth/users/{account.id}/roles/clinician", account.administrator)
    assert granted.status == 200, granted.json
    # What the old claims say no longer counts: the client renews them.
    seconds_until(
        lambda: replicas.call("patient", 2, "GET", "/patients", session.access_token).status == 401, PROMPTLY_S
    )
    renewed = replicas.call("auth", 2, "POST", "/auth/refresh", body={"refresh_token": session.refresh_token})
    access = renewed.json["data"]["access_token"]
    assert replicas.call("patient", 3, "POST", "/care-teams", access, team).status == 201


def test_failed_logins_are_counted_across_replicas(replicas, account):
    wrong = {**account.credentials, "password": "equivocada"}
    guesses = [replicas.call("auth", 1 + number % 2, "POST", "/auth/login", body=wrong) for number in range(10)]
    assert {answer.status for answer in guesses} == {401}
    for replica in (1, 2):
        assert replicas.call("auth", replica, "POST", "/auth/login", body=account.credentials).status == 423


def test_two_workers_of_a_service_audit_every_change_once(replicas, service, clinician, token):
    def write(number: int) -> str:
        answer = replicas.call("patient", 1 + number % 3, "POST", "/care-teams", token, {"name": f"E{number}"})
        assert answer.status == 201, answer.json
        return answer.json["data"]["id"]

    with ThreadPoolExecutor(6) as clients:
        made = Counter(clients.map(write, range(WRITES)))

    def audited() -> Counter[str]:
        with service("audit").database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
            rows = session.execute(
                text("SELECT entity_id FROM audit_logs WHERE org_id = :org"), {"org": clinician.org_id}
            )
            return Counter(rows.scalars())

    seconds_until(lambda: audited().total() >= WRITES, PATIENCE_S)
    time.sleep(1)  # a second delivery would arrive now
    assert audited() == made


# --- what the code may keep ------------------------------------------------------------------------------------------

# Filled once per process with what the code itself says, or with what every process finds out by itself.
DECLARED = {
    "common/messaging.py: registry": "the consumers that importing a service declares",
    "common/tasks.py: registry": "the tasks that importing a service declares",
    "common/serialization.py: _names": "which names are XML names: the same answer in every process",
}
MUTATING = frozenset(
    {"add", "append", "appendleft", "clear", "discard", "extend", "insert"}
    | {"pop", "popitem", "popleft", "remove", "setdefault", "sort", "update"}
)
MAKERS = frozenset({"dict", "list", "set", "defaultdict", "deque", "Counter", "OrderedDict"})


def is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        return getattr(value.func, "id", getattr(value.func, "attr", "")) in MAKERS
    return isinstance(value, ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp)


def changed_names(function: ast.AST) -> set[str]:
    """The names whose value a function changes in place, and those that it declares global."""
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Global):
            found |= set(node.names)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            found |= {node.value.id} if isinstance(node.value, ast.Name) else set()
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATING:
            found |= {node.func.value.id} if isinstance(node.func.value, ast.Name) else set()
    return found


def local_names(function: ast.AST) -> set[str]:
    """Parameters and variables of a function, which are not the module's."""
    given = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    shared = {name for node in ast.walk(function) if isinstance(node, ast.Global) for name in node.names}
    return (given | stored) - shared


def kept_state(source: str) -> set[str]:
    """The module's names whose value its functions change."""
    tree = ast.parse(source)
    mutable: set[str] = set()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and is_mutable(node.value):
            mutable |= {target.id for target in targets if isinstance(target, ast.Name)}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    rebound = {name for f in functions for n in ast.walk(f) if isinstance(n, ast.Global) for name in n.names}
    return rebound | {name for f in functions for name in changed_names(f) - local_names(f) if name in mutable}


def test_no_module_keeps_what_requests_write():
    folders = [ROOT / "common", *sorted(ROOT.glob("*_service"))]
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in folders
        for path in folder.rglob("*.py")
        for name in kept_state(path.read_text())
    }
    assert found == set(DECLARED)


@pytest.mark.parametrize(
    "source",
    [
        "seen = {}\ndef f(a):\n    seen[a] = 1\n",
        "seen: list[int] = []\ndef f(a):\n    seen.append(a)\n",
        "seen = set()\ndef f(a):\n    def g():\n        seen.add(a)\n    g()\n",
        "seen = defaultdict(int)\nclass A:\n    def f(self, a):\n        del seen[a]\n",
        "seen = 0\ndef f():\n    global seen\n    seen += 1\n",
    ],
)
def test_kept_state_is_found(source):
    assert kept_state(source) == {"seen"}


def test_what_is_no_kept_state_is_not_found():
    assert kept_state("seen = {}\ndef f():\n    seen = {}\n    seen['a'] = 1\n") == set()
    assert kept_state("seen = {'a': 1}\ndef f(a):\n    return seen[a]\n") == set()
