"""Every route, generated from the declarations, as everybody who has no business there: no leak, no write.

For a foreign id and for an absent one the answers are the same, in each role and under every method.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from uuid import uuid4

import pytest
from marshmallow import fields as ma
from sqlalchemy import text

from auth_service.roles import ROLES
from common import contracts
from common.database import ALL_ORGANIZATIONS
from common.permissions import INTERNAL, PUBLIC, Permission
from tests.support.samples import MAKERS, body_of
from tests.support.services import Person

OWNER, STRANGER = Person(), Person()
EVERYTHING = "every permission in one role"


def people_of(organization):
    """Somebody in each seeded role."""
    return {
        role: Person(org_id=organization, roles=(role,), permissions=frozenset(map(str, permissions)))
        for role, (_, permissions) in ROLES.items()
    }


STRANGERS = people_of(STRANGER.org_id) | {EVERYTHING: STRANGER}
COLLEAGUES = people_of(OWNER.org_id)
# Naming an organisation is one line of code for all of them; `--long` goes through every role.
NAMING = STRANGERS.keys() - {"superadmin"} if os.environ.get("HEARTGUARD_LONG") else ("org_admin", "device", EVERYTHING)

ENDPOINTS = [
    (service, endpoint)
    for service in contracts.built_services()
    for endpoint in contracts.endpoints_of(service)
    if endpoint.permission is not PUBLIC
]


def routes(wanted=lambda _: True):
    return [
        pytest.param(service, endpoint, id=f"{service}: {endpoint.method} {endpoint.path}")
        for service, endpoint in ENDPOINTS
        if wanted(endpoint)
    ]


def samples_for(service, person):
    known: dict[str, dict[str, str]] = {}

    def samples_of(name):
        if name not in known:
            known[name] = MAKERS[name](service(name), person) if name in MAKERS else {}
        return known[name]

    return samples_of


@pytest.fixture(scope="module")
def owned(service):
    """`owned("patient")`: one of each thing, in the owner's organisation."""
    return samples_for(service, OWNER)


@pytest.fixture(scope="module")
def strangers(service):
    """The same in the stranger's own organisation."""
    return samples_for(service, STRANGER)


def fingerprint(database, organization=OWNER.org_id):
    """What an organisation holds, by default the owner's, table by table."""
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
                {"org": organization},
            ).scalar()
            for table in tables
        }


def absent_ids(endpoint):
    """Ids of nothing, for each parameter."""
    return {name: str(uuid4()) if kind == "uuid" else "absent" for name, kind in endpoint.parameters.items()}


def call(under_test, endpoint, who, ids, *, body=None, **query):
    """One request, with a body as the schema asks for; a service's doors are tried with a service's token."""
    if endpoint.permission is INTERNAL:
        who = under_test.service_token("test", who.org_id)
    path = re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], endpoint.path)
    if endpoint.body_schema and body is None:
        body = body_of(endpoint.body_schema)
    return under_test.call(endpoint.method, path, who, json=body, query_string=query)


def facts(answer):
    """Everything that an answer says, but for which request it answers."""
    request_id = answer.headers["X-Request-ID"]
    headers = {name: value for name, value in answer.headers if name != "X-Request-ID"}
    return answer.status_code, headers, answer.text.replace(request_id, "")


def leaked(answer, samples, who):
    """The owner's ids that stand in an answer."""
    return {sample for sample in samples.values() if sample in answer.text.replace(str(who.user_id), "")}


def is_forbidden(endpoint, who):
    return isinstance(endpoint.permission, Permission) and endpoint.permission not in who.permissions


def assert_nothing_found(answer, endpoint, who):
    """The permission is asked for first; whoever holds it hears that there is no such thing."""
    if is_forbidden(endpoint, who):
        assert (answer.status_code, answer.json["error"]["id"]) == (403, "HG-PERM-001")
    else:
        assert answer.status_code >= 400


def test_the_seeded_roles_are_those_of_the_contract():
    named = {"superadmin", "org_admin", "clinician", "caregiver", "patient", "device", "org_viewer", "ops"}
    assert set(ROLES) == named


@pytest.mark.parametrize(("name", "endpoint"), routes())
def test_a_foreign_organization_gets_nothing(service, owned, name, endpoint):
    under_test, samples = service(name), owned(name)
    missing = [parameter for parameter in endpoint.parameters if parameter not in samples]
    assert not missing, f"no sample of {missing}: add it to tests/support/samples.py"
    before = fingerprint(under_test.database)
    for role, who in STRANGERS.items():
        answer = call(under_test, endpoint, who, samples)
        assert not leaked(answer, samples, who), role
        if endpoint.parameters:
            absent = call(under_test, endpoint, who, absent_ids(endpoint))
            assert facts(answer) == facts(absent), role
            assert endpoint.permission is INTERNAL or answer.status_code >= 400, role
        if is_forbidden(endpoint, who):
            assert_nothing_found(answer, endpoint, who)
    assert fingerprint(under_test.database) == before


@pytest.mark.parametrize(("name", "endpoint"), routes())
def test_only_a_superadmin_names_another_organization(service, owned, name, endpoint):
    under_test, samples = service(name), owned(name)
    before = fingerprint(under_test.database)
    for role in NAMING:
        who = STRANGERS[role]
        answer = call(under_test, endpoint, who, samples, org_id=str(OWNER.org_id))
        absent = call(under_test, endpoint, who, absent_ids(endpoint), org_id=str(uuid4()))
        assert not leaked(answer, samples, who), role
        assert facts(answer) == facts(absent), role
        assert_nothing_found(answer, endpoint, who)
    assert fingerprint(under_test.database) == before


@pytest.mark.parametrize(("name", "endpoint"), routes(lambda item: isinstance(item.permission, Permission)))
def test_a_role_without_the_permission_is_refused_at_home_too(service, owned, name, endpoint):
    under_test, samples = service(name), owned(name)
    before = fingerprint(under_test.database), len(under_test.outbox(org_id=OWNER.org_id))
    refused = {role: who for role, who in COLLEAGUES.items() if is_forbidden(endpoint, who)}
    one_less = replace(OWNER, permissions=OWNER.permissions - {str(endpoint.permission)})
    for role, who in (refused | {"all permissions but this": one_less}).items():
        answer = call(under_test, endpoint, who, samples)
        assert (answer.status_code, answer.json["error"]["id"]) == (403, "HG-PERM-001"), role
        assert facts(answer) == facts(call(under_test, endpoint, who, absent_ids(endpoint))), role
    assert (fingerprint(under_test.database), len(under_test.outbox(org_id=OWNER.org_id))) == before


def has_part(endpoint):
    return sum(kind == "uuid" for kind in endpoint.parameters.values()) >= 2


@pytest.mark.parametrize(("name", "endpoint"), routes(has_part))
def test_a_foreign_part_is_not_found_in_a_thing_of_ones_own(service, owned, strangers, name, endpoint):
    under_test, samples, own = service(name), owned(name), strangers(name)
    *_, part = endpoint.parameters
    before = fingerprint(under_test.database)
    answer = call(under_test, endpoint, STRANGER, own | {part: samples[part]})
    absent = call(under_test, endpoint, STRANGER, own | {part: str(uuid4())})
    assert answer.status_code >= 400
    assert facts(answer) == facts(absent)
    assert fingerprint(under_test.database) == before


def uuids_in(schema):
    """The fields of a schema that name something by its id, and the others that it demands."""
    fields = {field.data_key or name: field for name, field in schema.load_fields.items()} if schema else {}
    demanded = {name: value for name, value in (body_of(schema) if schema else {}).items() if fields[name].required}
    named = [name for name, field in fields.items() if isinstance(field, ma.UUID)]
    lists = [name for name, field in fields.items() if isinstance(field, ma.List) and isinstance(field.inner, ma.UUID)]
    return demanded, {name: lambda value: value for name in named} | {name: lambda value: [value] for name in lists}


def names_ids(endpoint):
    """Services vouch for the ids that they send each other."""
    return endpoint.permission is not INTERNAL and any(
        uuids_in(schema)[1] for schema in (endpoint.body_schema, endpoint.query_schema)
    )


@pytest.mark.parametrize(("name", "endpoint"), routes(names_ids))
def test_a_foreign_id_in_body_or_query_is_as_good_as_an_absent_one(service, owned, strangers, name, endpoint):
    under_test, samples, own = service(name), owned(name), strangers(name)
    foreign = [sample for sample in samples.values() if re.fullmatch(r"[0-9a-f-]{36}", sample)]
    before = fingerprint(under_test.database)
    for where, schema in (("body", endpoint.body_schema), ("query", endpoint.query_schema)):
        demanded, ids = uuids_in(schema)
        for field, written in ids.items():

            def ask(value, where=where, demanded=demanded, field=field, written=written):
                given = demanded | {field: written(value)}
                given = {"body": given} if where == "body" else {"body": None, **given}
                return call(under_test, endpoint, STRANGER, own, **given)

            absent = ask(str(uuid4()))
            for value in foreign:
                answer = ask(value)
                assert answer.status_code == absent.status_code, (field, answer.text)
                if answer.status_code >= 400 or endpoint.method == "GET":
                    assert facts(answer) == facts(absent), field
                assert not leaked(answer, {k: v for k, v in samples.items() if v != value}, STRANGER), field
    assert fingerprint(under_test.database) == before


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")


@pytest.mark.parametrize("name", contracts.built_services())
def test_no_other_method_does_anything(service, owned, name):
    under_test, samples = service(name), owned(name)
    methods: dict[str, set[str]] = {}
    for endpoint in contracts.endpoints_of(name):
        methods.setdefault(endpoint.path, set()).add(endpoint.method)
    before = fingerprint(under_test.database)
    for path, declared in methods.items():
        target = re.sub(r"\{(\w+)\}", lambda match: samples[match[1]], path)
        for method in set(METHODS) - declared:
            for who in (OWNER, STRANGER, None):
                answer = under_test.call(method, target, who, json={})
                assert (answer.status_code, answer.json["error"]["id"]) == (405, "HG-MTD-001"), (method, path)
                assert declared <= set(answer.headers["Allow"].split(", "))
        options = under_test.call("OPTIONS", target, STRANGER)
        assert (options.status_code, options.data) == (200, b"")
        if "GET" in declared:
            head, get = (under_test.call(method, target, STRANGER) for method in ("HEAD", "GET"))
            assert (head.status_code, head.data) == (get.status_code, b""), path
    assert fingerprint(under_test.database) == before
