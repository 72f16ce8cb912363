"""The audit trail: what comes in stays, in one chain, for those who may read it."""

from __future__ import annotations

import csv
import io
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg2
import pytest
from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS
from common.events import AuditLog
from common.migrate import MigrationSettings, connect
from tests.support.services import Person

SUPERADMIN = Person(org_id=None, roles=("superadmin",))


@pytest.fixture(scope="session")
def trail(service):
    return service("audit")


@pytest.fixture
def heads(trail):
    return trail.service.resources["heads"]


def happened(org_id: UUID | None, action: str = "alert.created", **values) -> AuditLog:
    return AuditLog(
        **{
            "actor": "service:alert",
            "action": action,
            "entity": "alerts",
            "entity_id": str(uuid4()),
            "org_id": org_id,
            "request_id": f"request-{uuid4()}",
            "ts": datetime.now(UTC),
            "details": {"level": "high", "count": 3, "share": 0.1, "limits": [1e22, -0.0, None, "ñ\u2028"]},
            **values,
        }
    )


def listed(trail, person, query=""):
    answer = trail.call("GET", f"/audit/logs{query}", person)
    assert answer.status_code == 200, answer.text
    return answer.json["data"]


def verified(trail, query=""):
    """What a walk over the whole chain says, page after page."""
    cursor, checked = 0, 0
    while True:
        answer = trail.call("GET", f"/audit/verify?cursor={cursor}{query}", SUPERADMIN).json["data"]
        checked += answer["checked"]
        if answer["next_cursor"] is None:
            return answer | {"checked": checked}
        cursor = answer["next_cursor"]


def test_an_event_becomes_a_row(trail, clinician):
    event = happened(clinician.org_id, ip="192.0.2.1", user_agent="demo")
    assert trail.deliver(event, clinician.org_id) == [True]
    (row,) = listed(trail, clinician)
    expected = {"actor", "action", "entity", "entity_id", "ip", "user_agent", "request_id", "details"}
    assert {name: row[name] for name in expected} == {name: getattr(event, name) for name in expected}
    assert datetime.fromisoformat(row["ts"]) == event.ts
    assert len(bytes.fromhex(row["hash"])) == 32
    assert trail.call("GET", f"/audit/logs/{row['id']}", clinician).json["data"] == row


def test_a_message_delivered_twice_is_one_row(trail, clinician):
    assert trail.deliver(happened(clinician.org_id), clinician.org_id, twice=True) == [True, False]
    assert len(listed(trail, clinician)) == 1


def test_each_filter_finds_its_rows(trail, clinician):
    now = datetime.now(UTC).replace(microsecond=0)
    wanted = happened(clinician.org_id, "alert.ack", actor=str(uuid4()), ts=now - timedelta(hours=1))
    for event in (happened(clinician.org_id, entity="patients"), wanted):
        trail.deliver(event, clinician.org_id)
    until = (now - timedelta(minutes=30)).isoformat().replace("+00:00", "Z")
    since = (now - timedelta(hours=2)).isoformat().replace("+00:00", "Z")
    for query in (
        f"actor={wanted.actor}",
        "action=alert.ack",
        "entity=alerts",
        f"entity_id={wanted.entity_id}",
        f"request_id={wanted.request_id}",
        f"from={since}&to={until}",
    ):
        assert [row["action"] for row in listed(trail, clinician, f"?{query}")] == ["alert.ack"], query


def test_pages_follow_the_cursor(trail, clinician):
    for number in range(5):
        trail.deliver(happened(clinician.org_id, f"step.{number}"), clinician.org_id)
    seen, cursor = [], ""
    while cursor is not None:
        page = trail.call("GET", f"/audit/logs?limit=2{cursor and '&cursor=' + cursor}", clinician).json
        seen += [row["action"] for row in page["data"]]
        cursor = page["meta"]["next_cursor"]
    assert seen == [f"step.{number}" for number in (4, 3, 2, 1, 0)]


def test_another_organisation_sees_nothing(trail, clinician, stranger):
    trail.deliver(happened(clinician.org_id), clinician.org_id)
    (row,) = listed(trail, clinician)
    assert listed(trail, stranger) == []
    assert trail.call("GET", "/audit/export", stranger).data == b""
    foreign = trail.call("GET", f"/audit/logs/{row['id']}", stranger)
    absent = trail.call("GET", f"/audit/logs/{uuid4()}", stranger)
    assert foreign.status_code == absent.status_code == 404
    assert foreign.json["error"]["id"] == absent.json["error"]["id"]


def test_rows_of_the_system_are_for_superadmins(trail, clinician):
    event = happened(None, "auth.login_failed")
    trail.deliver(event, None)
    query = f"?request_id={event.request_id}"
    (row,) = listed(trail, SUPERADMIN, query)
    assert row["org_id"] is None
    assert listed(trail, clinician, query) == []
    assert listed(trail, SUPERADMIN, f"{query}&org_id={clinician.org_id}") == []
    assert trail.call("GET", f"/audit/logs/{row['id']}", clinician).status_code == 404
    homeless = replace(clinician, org_id=None)
    assert trail.call("GET", f"/audit/logs{query}", homeless).status_code == 400


def test_postgresql_hides_what_a_query_forgot(trail, clinician, stranger):
    for org_id in (clinician.org_id, None):
        trail.deliver(happened(org_id, "policy.tried"), org_id)
    count = text("SELECT count(*) FROM audit_logs WHERE action = 'policy.tried'")
    expected = {clinician.org_id: 1, stranger.org_id: 0, None: 0, ALL_ORGANIZATIONS: 2}
    for organization, rows in expected.items():
        with trail.database.transaction(organization) as session:
            assert session.execute(count).scalar_one() == rows


def test_reading_the_trail_leaves_a_trail(trail, clinician):
    trail.deliver(happened(clinician.org_id), clinician.org_id)
    (row,) = listed(trail, clinician, "?action=alert.created")
    trail.call("GET", f"/audit/logs/{row['id']}", clinician)
    trail.call("GET", "/audit/export?format=csv", clinician)
    trail.call("GET", "/audit/verify", clinician)
    assert trail.audited(clinician.org_id) == ["audit.listed", "audit.read", "audit.exported", "audit.verified"]
    details = trail.outbox("audit.log", clinician.org_id)[0]["data"]["details"]
    assert details == {"action": "alert.created", "count": 1}


def test_each_permission_opens_its_own_door(trail, clinician):
    reader = replace(clinician, permissions=frozenset({"audit:read"}))
    exporter = replace(clinician, permissions=frozenset({"audit:export"}))
    for path in ("/audit/logs", f"/audit/logs/{uuid4()}", "/audit/verify"):
        assert trail.call("GET", path, exporter).status_code == 403
    assert trail.call("GET", "/audit/export", reader).status_code == 403
    assert trail.call("GET", "/audit/export", exporter).status_code == 200


# --- export --------------------------------------------------------------------------------------------------------


def test_ndjson_carries_every_row_over_its_pages(trail, clinician):
    events = [happened(clinician.org_id, f"step.{number}") for number in range(3)]
    for event in events:
        trail.deliver(event, clinician.org_id)
    first = trail.call("GET", "/audit/export?limit=2", clinician)
    assert first.mimetype == "application/x-ndjson"
    assert first.headers["Content-Disposition"] == 'attachment; filename="audit.ndjson"'
    rest = trail.call("GET", f"/audit/export?limit=2&cursor={first.headers['X-Next-Cursor']}", clinician)
    assert "X-Next-Cursor" not in rest.headers
    rows = [json.loads(line) for line in (first.data + rest.data).splitlines()]
    assert [row["action"] for row in rows] == ["step.2", "step.1", "step.0"]
    assert rows[0]["details"] == events[2].details


def test_csv_is_no_program(trail, clinician):
    for formula in ("=1+1", "@SUM(A1)", "+1", "-1", "\t=1", "\r=1"):
        trail.deliver(happened(clinician.org_id, user_agent=f'{formula},"\n'), clinician.org_id)
    pages = [trail.call("GET", "/audit/export?format=csv&limit=4", clinician)]
    cursor = pages[0].headers["X-Next-Cursor"]
    pages.append(trail.call("GET", f"/audit/export?format=csv&limit=4&cursor={cursor}", clinician))
    assert pages[0].mimetype == "text/csv"
    rows = list(csv.DictReader(io.StringIO("".join(page.data.decode() for page in pages), newline="")))
    assert [row["user_agent"] for row in rows] == [
        f"'{formula},\"\n" for formula in ("\r=1", "\t=1", "-1", "+1", "@SUM(A1)", "=1+1")
    ]
    assert all(not value.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for value in row.values())


# --- the chain -----------------------------------------------------------------------------------------------------


def as_owner(*statements: str) -> None:
    """Run statements as the migrations role, which owns the table, past its triggers."""
    with connect(MigrationSettings.load("migrations"), "audit") as connection, connection.begin():
        connection.execute(text("SELECT set_config('app.org_id', 'all', true)"))
        connection.execute(text("ALTER TABLE audit_logs DISABLE TRIGGER USER"))
        for statement in statements:
            assert connection.execute(text(statement)).rowcount == 1, statement
        connection.execute(text("ALTER TABLE audit_logs ENABLE TRIGGER USER"))


@pytest.fixture
def stretch(trail, clinician):
    """The numbers of three new rows at the end of the chain; what a test does to them is undone."""
    for _ in range(3):
        trail.deliver(happened(clinician.org_id), clinician.org_id)
    numbers = sorted(row["sequence"] for row in listed(trail, clinician))
    with connect(MigrationSettings.load("migrations"), "audit") as connection:
        connection.execute(text("SELECT set_config('app.org_id', 'all', true)"))
        kept = text("SELECT * FROM audit_logs WHERE sequence >= :first ORDER BY sequence")
        rows = connection.execute(kept, {"first": numbers[0]}).mappings().all()
    yield numbers
    with connect(MigrationSettings.load("migrations"), "audit") as connection, connection.begin():
        connection.execute(text("SELECT set_config('app.org_id', 'all', true)"))
        connection.execute(text("ALTER TABLE audit_logs DISABLE TRIGGER USER"))
        connection.execute(text("DELETE FROM audit_logs WHERE sequence >= :first"), {"first": numbers[0]})
        connection.execute(text("ALTER TABLE audit_logs ENABLE TRIGGER USER"))
        columns = ", ".join(rows[0])
        places = ", ".join(f":{name}" for name in rows[0])
        insert = text(f"INSERT INTO audit_logs ({columns}) VALUES ({places})")
        connection.execute(insert, [{**row, "details": json.dumps(row["details"])} for row in rows])
    assert verified(trail)["state"] == "whole"


def test_an_untouched_chain_is_whole_in_steps_of_any_size(trail, stretch):
    whole = verified(trail)
    assert (whole["state"], whole["checked"]) == ("whole", whole["last_sequence"])
    assert whole["last_sequence"] == stretch[-1]
    assert verified(trail, "&limit=2")["checked"] == whole["checked"]


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'somebody else'",
        "action = 'x'",
        "entity_id = NULL",
        "org_id = NULL",
        "ts = ts + interval '1 microsecond'",
        "request_id = ''",
        "ip = '192.0.2.9'",
        "details = '{}'",
        "id = gen_random_uuid()",
        "hash = sha256(hash)",
    ],
)
def test_a_changed_row_is_found(trail, stretch, change):
    as_owner(f"UPDATE audit_logs SET {change} WHERE sequence = {stretch[1]}")
    found = verified(trail)
    assert (found["state"], found["broken_at"]) == ("broken", {"sequence": stretch[1], "reason": "altered"})


def test_a_removed_row_is_found(trail, stretch):
    as_owner(f"DELETE FROM audit_logs WHERE sequence = {stretch[1]}")
    assert verified(trail)["broken_at"] == {"sequence": stretch[1], "reason": "missing"}


def test_two_rows_that_changed_places_are_found(trail, stretch):
    first, second, _ = stretch
    as_owner(
        f"UPDATE audit_logs SET sequence = -1 WHERE sequence = {first}",
        f"UPDATE audit_logs SET sequence = {first} WHERE sequence = {second}",
        f"UPDATE audit_logs SET sequence = {second} WHERE sequence = -1",
    )
    assert verified(trail)["broken_at"] == {"sequence": first, "reason": "altered"}


def test_a_cut_off_end_is_found_by_the_signed_head(trail, stretch, heads):
    sign(trail)
    as_owner(f"DELETE FROM audit_logs WHERE sequence = {stretch[2]}")
    found = verified(trail)
    assert found["broken_at"] == {"sequence": stretch[2], "reason": "truncated"}
    assert found["signed_sequence"] == stretch[2]


def test_a_rewritten_end_is_found_by_the_signed_head_and_never_signed(trail, clinician, stretch, heads):
    sign(trail)
    as_owner(f"DELETE FROM audit_logs WHERE sequence = {stretch[2]}")
    trail.deliver(happened(clinician.org_id, "history.forged"), clinician.org_id)
    broken_at = {"sequence": stretch[2], "reason": "rewritten"}
    assert verified(trail)["broken_at"] == broken_at
    before = heads.newest()
    assert sign(trail) == 0
    assert heads.newest() == before


def test_a_forged_head_is_found(trail, stretch, heads, tmp_path):
    sign(trail)
    (path,) = trail.service.settings.head_folder.glob("heads-*.jsonl")
    written = path.read_bytes()
    try:
        path.write_bytes(written.replace(b'"sequence":', b'"sequence":1'))
        assert verified(trail)["broken_at"]["reason"] == "head_forged"
        path.write_bytes(written + b'{"sequence":1')  # a crash in the middle of a line is no forgery
        assert verified(trail)["state"] == "whole"
        assert heads.sign(stretch[2], bytes.fromhex(heads.newest().hash)) == heads.newest()
    finally:
        path.write_bytes(written)


def sign(trail) -> int:
    from audit_service.tasks import sign_head

    return sign_head(trail.database, trail.service.resources["heads"])


def test_the_head_is_signed_once_for_each_end(trail, stretch, heads):
    assert sign(trail) >= 3
    assert heads.newest().sequence == stretch[-1]
    assert sign(trail) == 0


def test_concurrent_writers_keep_one_chain(trail, clinician):
    failures = []

    def write():
        try:
            for _ in range(10):
                trail.deliver(happened(clinician.org_id), clinician.org_id)
        except BaseException as error:  # whatever went wrong in the thread fails the test
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(listed(trail, clinician, "?limit=200")) == 60
    assert verified(trail)["state"] == "whole"


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_logs SET actor = ''", "DELETE FROM audit_logs", "TRUNCATE audit_logs"]
)
def test_rows_are_written_once(trail, clinician, statement):
    trail.deliver(happened(clinician.org_id), clinician.org_id)
    with (
        pytest.raises(Exception, match="permission denied"),
        trail.database.transaction(ALL_ORGANIZATIONS, technical=True) as session,
    ):
        session.execute(text(statement))
    with connect(MigrationSettings.load("migrations"), "audit") as connection:
        connection.execute(text("SELECT set_config('app.org_id', 'all', true)"))
        with pytest.raises(Exception, match="rows are written once") as caught:
            connection.execute(text(statement))
        assert isinstance(caught.value.__cause__, psycopg2.errors.InsufficientPrivilege)
