"""Guards over the migrated databases: models agree, row-level security holds, roles can do no more than they must."""

from __future__ import annotations

import os

import psycopg2
import pytest
from alembic import autogenerate
from alembic.migration import MigrationContext
from sqlalchemy import text

from common.config import SERVICES
from common.database import ALL_ORGANIZATIONS, Database, UnauditedWriteError
from common.migrate import MigrationSettings, connect, folder_of, metadata_of
from common.tables import tables

OWNING = [name for name in SERVICES if folder_of(name).exists()]
WITHOUT_ORGANIZATION: set[str] = set()


@pytest.fixture(scope="module")
def settings(servers):
    return MigrationSettings.load("migrations")


@pytest.mark.parametrize("service", OWNING)
def test_migrations_arrive_at_the_models(settings, service):
    with connect(settings, service) as connection:
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: kind != "table" or name not in (*tables.tables, "alembic_version"),
        }
        context = MigrationContext.configure(connection, opts=options)
        assert autogenerate.compare_metadata(context, metadata_of(service)) == []


@pytest.mark.parametrize("service", OWNING)
def test_rows_of_organizations_are_behind_row_level_security(settings, service):
    with connect(settings, service) as connection:
        rows = connection.execute(
            text(
                "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity, count(p.polname) FROM pg_class c"
                " JOIN pg_namespace n ON n.oid = c.relnamespace"
                " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'org_id' AND NOT a.attisdropped"
                " LEFT JOIN pg_policy p ON p.polrelid = c.oid"
                " WHERE n.nspname = :schema AND c.relkind IN ('r', 'p') GROUP BY 1, 2"
            ),
            {"schema": service},
        ).all()
    open_tables = {name for name, forced, policies in rows if not (forced and policies)}
    assert not open_tables, f"{service}: {open_tables} have org_id and no row-level security"


@pytest.mark.parametrize("service", OWNING)
def test_the_app_role_owns_nothing_and_sees_no_other_schema(service, servers):
    connection = psycopg2.connect(
        host=os.environ["DATABASE_HOST"],
        port=os.environ["DATABASE_PORT"],
        dbname=os.environ["DATABASE_NAME"],
        user=f"heartguard_{service}",
        password=os.environ[f"{service.upper()}_DATABASE_PASSWORD"],
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = current_user"
        )
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchone() == (False,)
        cursor.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s) AND has_schema_privilege(oid, 'USAGE')",
            (list(SERVICES),),
        )
        assert cursor.fetchall() == [(service,)]
        cursor.execute(
            "SELECT has_schema_privilege(%s, 'CREATE'), has_schema_privilege('public', 'CREATE')", (service,)
        )
        assert cursor.fetchone() == (False, False)
    connection.close()


def test_a_forgotten_organization_filter_is_stopped_by_postgresql(service, clinician, stranger):
    patients = service("patient")
    patients.call("POST", "/patients", clinician, json={"name": "Ana", "birthdate": "1950-01-02", "sex": "F"})
    count = text("SELECT count(*) FROM patients WHERE org_id = :org")
    for organization, expected in ((clinician.org_id, 1), (stranger.org_id, 0), (None, 0), (ALL_ORGANIZATIONS, 1)):
        with patients.database.transaction(organization) as session:
            assert session.execute(count, {"org": clinician.org_id}).scalar_one() == expected
    with patients.database.transaction(stranger.org_id, technical=True) as session:
        changed = session.execute(text("DELETE FROM patients WHERE org_id = :org"), {"org": clinician.org_id})
        assert changed.rowcount == 0


def test_a_write_without_an_audit_event_is_not_committed(service, clinician):
    from patient_service.models import CareTeam

    database: Database = service("patient").database
    with pytest.raises(UnauditedWriteError), database.transaction(clinician.org_id) as session:
        session.add(CareTeam(org_id=clinician.org_id, name="Cardio"))
    with pytest.raises(UnauditedWriteError), database.transaction(clinician.org_id) as session:
        session.query(CareTeam).update({"name": "Otro"})
