"""Two locks keep organisations apart: the filter in a query, and PostgreSQL's row-level security. Each holds alone.

Tables and routes are generated from the models and the declarations; each lock is taken away at one place.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import CheckConstraint, event, select, text, true
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BinaryExpression, BindParameter

from common import contracts
from common.api import Tenancy
from common.database import ALL_ORGANIZATIONS, Database
from common.migrate import MigrationSettings, connect, folder_of, metadata_of
from common.permissions import INTERNAL, PUBLIC
from tests.architecture.test_foreign_organization import call, fingerprint, leaked, samples_for
from tests.support.services import Person

OWNER, STRANGER = Person(), Person()
OWNING = [name for name in contracts.built_services() if folder_of(name).exists()]
REFUSED = "42501"
"""PostgreSQL's code for a write that a policy does not let through."""


@pytest.fixture(scope="module")
def owned(service):
    return samples_for(service, OWNER)


@pytest.fixture(scope="module")
def strangers(service):
    return samples_for(service, STRANGER)


def secured_tables(name):
    """Every table of the models with `org_id`, and those behind a policy by their owner (sessions, profiles)."""
    with connect(MigrationSettings.load("migrations"), name) as connection:
        behind_policy = set(
            connection.execute(
                text(
                    "SELECT relname FROM pg_class WHERE relrowsecurity AND relnamespace = CAST(:name AS regnamespace)"
                ),
                {"name": f'"{name}"'},
            ).scalars()
        )
    tables = metadata_of(name).tables
    assert {table for table in tables if "org_id" in tables[table].columns} <= behind_policy
    return sorted(behind_policy)


def rows(database, table, organization):
    """Where the visible rows of a table stand."""
    with database.transaction(organization) as session:
        return set(session.execute(text(f'SELECT ctid::text FROM "{table}"')).scalars())


def value_of(column, choices, session):
    """Something that a column takes: a row that exists where it points to one, else a plain value of its type."""
    if column.name == "org_id":
        return OWNER.org_id
    for key in column.foreign_keys:
        return session.execute(select(key.column).limit(1)).scalar_one()
    if column.name in choices:
        return choices[column.name]
    plain = {UUID: uuid4(), datetime: datetime.now(UTC), date: date.today(), bytes: b"x", bool: True}
    plain |= {dict: {}, object: {}, list: []}
    kind = column.type.python_type
    return plain[kind] if kind in plain else kind(1)


def add_row(table, session):
    """The smallest row of the owner's; of a column with a closed choice the first value."""
    checks = [str(check.sqltext) for check in table.constraints if isinstance(check, CheckConstraint)]
    choices = dict(match.groups() for check in checks if (match := re.match(r"(\w+) IN \('([^']*)'", check)))
    needed = [column for column in table.columns if not column.nullable and column.server_default is None]
    wanted = [*needed, *[column for column in table.columns if column.name == "org_id" and column not in needed]]
    session.execute(table.insert().values({column.name: value_of(column, choices, session) for column in wanted}))


def fill(name, database):
    """A row of the owner's in each table of a service that its samples left empty."""
    for table in metadata_of(name).sorted_tables:
        if table.name in secured_tables(name) and not owners_rows(database, table.name):
            with database.transaction(OWNER.org_id, technical=True) as session:
                add_row(table, session)


def owners_rows(database, table):
    """Where the owner's rows stand, without those that all organisations share."""
    return rows(database, table, OWNER.org_id) - rows(database, table, None)


def changed_by_stranger(database, statement, **values):
    """How many rows a statement changes in a stranger's transaction; one that PostgreSQL refuses changes none."""
    with Session(database.engine) as session:
        session.execute(text("SELECT set_config('app.org_id', :org, true)"), {"org": str(STRANGER.org_id)})
        try:
            return session.execute(text(statement), values).rowcount
        except DBAPIError as error:
            assert error.orig.pgcode == REFUSED, error
            return 0
        finally:
            session.rollback()


@pytest.mark.parametrize("name", OWNING)
def test_a_statement_without_any_filter_reads_and_writes_nothing_of_others(service, owned, strangers, name):
    database = service(name).database
    owned(name), strangers(name)
    fill(name, database)
    for table in secured_tables(name):
        columns = metadata_of(name).tables[table].columns
        theirs = owners_rows(database, table)
        assert theirs, f"{table}: without a row of the owner's nothing is shown"
        assert not theirs & rows(database, table, STRANGER.org_id), table
        column = next(column.name for column in columns if column.computed is None)
        where, places = "ctid = ANY(CAST(:places AS tid[]))", sorted(theirs)
        assert changed_by_stranger(database, f'DELETE FROM "{table}" WHERE {where}', places=places) == 0, table
        update = f'UPDATE "{table}" SET "{column}" = "{column}" WHERE {where}'
        assert changed_by_stranger(database, update, places=places) == 0, table
        if "org_id" in columns:  # the policy is asked before any constraint is
            marker = "id" if columns["org_id"].computed is not None else "org_id"
            insert = f'INSERT INTO "{table}" ("{marker}") VALUES (:org)'
            assert changed_by_stranger(database, insert, org=OWNER.org_id) == 0, table


# --- the same through the service's own queries ----------------------------------------------------------------------


@contextmanager
def no_filters():
    """Take every comparison with the stranger's organisation out of every query."""

    def is_filter(element):
        values = [side.value for side in (element.left, element.right) if isinstance(side, BindParameter)]
        return STRANGER.org_id in values

    def drop(element, **_):
        return true() if isinstance(element, BinaryExpression) and is_filter(element) else None

    def rewrite(state):
        if state.is_select or state.is_update or state.is_delete:
            state.statement = visitors.replacement_traverse(state.statement, {}, drop)

    event.listen(Session, "do_orm_execute", rewrite)
    try:
        yield
    finally:
        event.remove(Session, "do_orm_execute", rewrite)


@contextmanager
def no_row_security():
    """Open every transaction as one that sees all organisations."""
    transaction = Database.transaction
    Database.transaction = lambda self, _organization, **options: transaction(self, ALL_ORGANIZATIONS, **options)
    try:
        yield
    finally:
        Database.transaction = transaction


ROUTES = [
    (name, endpoint)
    for name in OWNING
    for endpoint in contracts.endpoints_of(name)
    if endpoint.permission not in (PUBLIC, INTERNAL) and endpoint.tenancy is not Tenancy.ALL
]


def found(service, owned, name, endpoint):
    """What a stranger got of the owner's at a route: a success, an id, or a change."""
    under_test = service(name)
    samples = {key: value for key, value in owned(name).items() if key != "tag"}  # everybody's word
    before = fingerprint(under_test.database, OWNER.org_id)
    answer = call(under_test, endpoint, STRANGER, owned(name))
    assert answer.status_code != 500, answer.text
    opened = bool(endpoint.parameters) and answer.status_code < 400
    return opened or bool(leaked(answer, samples, STRANGER)) or fingerprint(under_test.database, OWNER.org_id) != before


@pytest.mark.parametrize(
    ("name", "endpoint"), [pytest.param(*r, id=f"{r[0]}: {r[1].method} {r[1].path}") for r in ROUTES]
)
def test_row_level_security_holds_where_a_query_forgot_its_filter(service, owned, name, endpoint):
    owned(name)
    with no_filters():
        assert not found(service, owned, name, endpoint)


READS = [(name, endpoint) for name, endpoint in ROUTES if endpoint.method == "GET"]


def test_with_both_locks_off_everything_is_open(service, owned):
    """The proof that `no_filters` takes away what it says: otherwise the test before would show nothing."""
    with no_filters(), no_row_security():
        opened = {name for name, endpoint in READS if found(service, owned, name, endpoint)}
    assert opened == {name for name, _ in READS}


def test_the_filters_hold_without_row_level_security(service, owned):
    with no_row_security():
        opened = [f"{name}: {item.path}" for name, item in READS if found(service, owned, name, item)]
    assert opened == []
