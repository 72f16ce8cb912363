"""Every route, generated from the declarations, as somebody of another organisation: no leak, no write.

For a foreign id and for an absent one the answers are the same.
"""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from sqlalchemy import text

from common import contracts
from common.database import ALL_ORGANIZATIONS
from common.permissions import INTERNAL, PUBLIC
from tests.support.samples import MAKERS, body_of
from tests.support.services import Person

OWNER, STRANGER = Person(), Person()

ROUTES = [
    pytest.param(service, endpoint, id=f"{service}: {endpoint.method} {endpoint.path}")
    for service in contracts.built_services()
    for endpoint in contracts.endpoints_of(service)
    if endpoint.permission is not PUBLIC
]


@pytest.fixture(scope="module")
def owned(service):
    known: dict[str, dict[str, str]] = {}

    def samples_of(name):
        if name not in known:
            known[name] = MAKERS[name](service(name), OWNER) if name in MAKERS else {}
        return known[name]

    return samples_of


def fingerprint(database):
    """What the owner's organisation holds, table by table."""
    with database.transaction(ALL_ORGANIZATIONS) as session:
        tables = session.execute(
            text(
                "SELECT table_name FROM information_schema.columns WHERE table_schema = current_schema"
                " AND column_name = 'org_id'"
            )
        ).scalars()
        return {
            table: session.execute(
                text(f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM \"{table}\" t WHERE org_id = :org"),
                {"org": OWNER.org_id},
            ).scalar()
            for table in tables
        }


def call_as_stranger(under_test, endpoint, ids):
    who = STRANGER
    if endpoint.permission is INTERNAL:
        who = under_test.service_token("test", STRANGER.org_id)
    path = re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], endpoint.path)
    body = body_of(endpoint.body_schema) if endpoint.body_schema else None
    return under_test.call(endpoint.method, path, who, json=body)


@pytest.mark.parametrize(("name", "endpoint"), ROUTES)
def test_a_foreign_organization_gets_nothing(service, owned, name, endpoint):
    under_test, samples = service(name), owned(name)
    missing = [parameter for parameter in endpoint.parameters if parameter not in samples]
    assert not missing, f"no sample of {missing}: add it to tests/support/samples.py"
    before = fingerprint(under_test.database)
    answer = call_as_stranger(under_test, endpoint, samples)
    assert fingerprint(under_test.database) == before
    for sample in samples.values():
        assert sample not in answer.text.replace(str(STRANGER.user_id), "")
    if endpoint.parameters:
        absent = {key: str(uuid4()) if kind == "uuid" else "absent" for key, kind in endpoint.parameters.items()}
        other = call_as_stranger(under_test, endpoint, absent)
        assert (answer.status_code, _facts(answer)) == (other.status_code, _facts(other))
        assert answer.status_code >= 400 or endpoint.permission is INTERNAL


def _facts(answer):
    document = answer.json if answer.is_json else {}
    return document["error"]["id"] if "error" in document else document.get("data")
