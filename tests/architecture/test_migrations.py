"""Guard over migrations under load: one that locks or takes away what the running version uses must say why.

The first revision of a service meets no running version. A later one states its reason as `CONTRACT = "..."`.
"""

from __future__ import annotations

import importlib.util
import io
import re
from types import ModuleType

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations

from common.config import SERVICES
from common.migrate import folder_of

OWNING = [name for name in SERVICES if folder_of(name).exists()]

_VOLATILE = r"gen_random_uuid|uuid_generate_\w+|uuidv\d|random|clock_timestamp|timeofday|nextval"
RULES = {
    r"\bDROP (TABLE|COLUMN|VIEW|MATERIALIZED VIEW|TYPE|SEQUENCE|FUNCTION|POLICY|SCHEMA)\b": "still in use",
    r"\bDROP INDEX (?!CONCURRENTLY)": "locks the table: drop the index CONCURRENTLY",
    r"\bRENAME\b": "the running version knows the old name: add the new one, and drop the old one a version later",
    r"\bALTER (COLUMN )?\S+ (SET DATA )?TYPE\b": "rewrites the table under a lock: add a new column",
    r"\bADD COLUMN\b(?!.*\bDEFAULT\b).*\bNOT NULL\b": "the running version does not fill it: give a default",
    rf"\bADD COLUMN\b.*\bDEFAULT\b.*\b({_VOLATILE})\(": "a volatile default rewrites the table under a lock",
    r"\bADD COLUMN\b.*\b((BIG|SMALL)?SERIAL|GENERATED)\b": "a computed column rewrites the table under a lock",
    r"\bADD COLUMN\b.*\b(UNIQUE|PRIMARY KEY|REFERENCES)\b": "checks the table under a lock: add the constraint apart",
    r"\bCREATE (UNIQUE )?INDEX (?!CONCURRENTLY)": "stops writes while it is built: create the index CONCURRENTLY",
    r"\bADD (CONSTRAINT|PRIMARY KEY|FOREIGN KEY|UNIQUE|CHECK)\b(?!.*(\bNOT VALID\b|\bUSING INDEX\b))": (
        "checks the table under a lock: add it NOT VALID, then VALIDATE it"
    ),
    r"\bSET NOT NULL\b": "reads the table under a lock: VALIDATE a check on it first",
    r"^(LOCK|TRUNCATE|CLUSTER|VACUUM FULL)\b": "takes the table away from the running version",
    r"^REINDEX (?!.*CONCURRENTLY)": "locks the table: reindex CONCURRENTLY",
    r"^(WITH\b.*\b)?(UPDATE|DELETE)\b": "touches every row in one transaction: let a task do it in batches",
    r"\b(ENABLE|FORCE) ROW LEVEL SECURITY\b": "hides rows that the running version reads",
    r"^REVOKE\b": "takes a right that the running version uses",
    r"^DO\b": "hides what it does: write the statements out",
}
_TABLE = r'(?:IF (?:NOT )?EXISTS )?(?:ONLY )?"?(\w+)"?'


def statements_of(module: ModuleType) -> list[str]:
    """The SQL of a revision, one statement each, without the contents of texts and comments."""
    buffer = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": buffer})
    with context.begin_transaction(), Operations.context(context):
        module.upgrade()
    plain = re.sub(r"'(?:[^']|'')*'", "''", re.sub(r"--[^\n]*", "", buffer.getvalue()))
    return [" ".join(part.split()) for part in plain.split(";") if part.strip()]


def objections_to(module: ModuleType) -> list[str]:
    """What in a revision would lock or take away what the running version uses; empty when it says why."""
    if str(getattr(module, "CONTRACT", "")).strip():
        return []
    new: set[str] = set()
    validated: set[str] = set()
    found = []
    for statement in statements_of(module):
        if made := re.match(rf"CREATE TABLE {_TABLE}", statement, re.IGNORECASE):
            new.add(made[1])
            continue
        target = re.search(rf"(?:ALTER TABLE|\bON|\bTABLE) {_TABLE}", statement, re.IGNORECASE)
        if target and target[1] in new:
            continue
        if target and re.search(r"\bVALIDATE CONSTRAINT\b", statement, re.IGNORECASE):
            validated.add(target[1])
        for rule, reason in RULES.items():
            if re.search(rule, statement, re.IGNORECASE) and not (
                "SET NOT NULL" in rule and target and target[1] in validated
            ):
                found.append(f"{statement}: {reason}")
    return found


def revisions_of(service: str) -> list[ModuleType]:
    """Every revision of a service after its first one."""
    modules = []
    for path in sorted(folder_of(service).glob("[0-9]*.py")):
        spec = importlib.util.spec_from_file_location(f"_{service}_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if module.down_revision is not None:
            modules.append(module)
    return modules


@pytest.mark.parametrize("service", OWNING)
def test_migrations_leave_the_running_version_what_it_uses(service):
    for module in revisions_of(service):
        assert not (found := objections_to(module)), (
            f"{service} {module.revision} would stop or break the running version. Change it, or say why it may in"
            f' CONTRACT = "...":\n' + "\n".join(found)
        )


def revision(body: str, head: str = "") -> ModuleType:
    """A revision whose upgrade does this."""
    module = ModuleType("sample")
    lines = "\n    ".join(body.splitlines())
    exec(f"import sqlalchemy as sa\nfrom alembic import op\n{head}\ndef upgrade():\n    {lines}\n", module.__dict__)
    return module


BAD = (
    'op.drop_table("patients")',
    'op.drop_column("patients", "sex")',
    'op.drop_index("ix_patients_name")',
    'op.rename_table("patients", "persons")',
    'op.alter_column("patients", "sex", new_column_name="gender")',
    'op.alter_column("patients", "name", type_=sa.Text())',
    'op.alter_column("patients", "name", nullable=False)',
    'op.add_column("patients", sa.Column("blood", sa.Text(), nullable=False))',
    'op.add_column("patients", sa.Column("code", sa.Uuid(), server_default=sa.text("gen_random_uuid()")))',
    'op.add_column("patients", sa.Column("seen", sa.DateTime(), server_default=sa.text("clock_timestamp()")))',
    'op.add_column("patients", sa.Column("double", sa.Integer(), sa.Computed("1 + 1")))',
    'op.execute("ALTER TABLE patients ADD COLUMN n serial")',
    'op.execute("ALTER TABLE patients ADD COLUMN ward uuid REFERENCES wards")',
    'op.create_index("ix_patients_sex", "patients", ["sex"])',
    'op.create_index("uq_patients_sex", "patients", ["sex"], unique=True)',
    'op.create_check_constraint("ck_sex", "patients", "sex <> \'\'")',
    'op.create_foreign_key("fk_ward", "patients", "wards", ["ward_id"], ["id"])',
    'op.create_unique_constraint("uq_name", "patients", ["name"])',
    'op.execute("LOCK TABLE patients")',
    'op.execute("truncate patients")',
    "op.execute(\"UPDATE patients SET sex = 'X'\")",
    'op.execute("delete from patients")',
    'op.execute("ALTER TABLE patients ENABLE ROW LEVEL SECURITY")',
    'op.execute("REVOKE SELECT ON patients FROM heartguard_patient")',
    'op.execute("REINDEX TABLE patients")',
    'op.execute("DO $$ BEGIN DROP TABLE patients; END $$")',
    'op.execute("SELECT 1; DROP TABLE patients")',
    'op.create_table("wards", sa.Column("id", sa.Uuid()))\nop.create_index("ix_sex", "patients", ["sex"])',
)
GOOD = (
    'from common.migrations import create_index_under_load\ncreate_index_under_load("ix", "patients", ["sex"])',
    'op.add_column("patients", sa.Column("blood", sa.Text(), nullable=True))',
    'op.add_column("patients", sa.Column("blood", sa.Text(), server_default="", nullable=False))',
    'op.add_column("patients", sa.Column("seen", sa.DateTime(), server_default=sa.func.now(), nullable=False))',
    'with op.get_context().autocommit_block():\n    op.create_index("ix", "patients", ["sex"], '
    "postgresql_concurrently=True)",
    'op.create_table("wards", sa.Column("id", sa.Uuid(), nullable=False))\nop.create_index("ix", "wards", ["id"])\n'
    'op.execute("ALTER TABLE wards ENABLE ROW LEVEL SECURITY")',
    "op.execute(\"ALTER TABLE patients ADD CONSTRAINT ck CHECK (sex <> '') NOT VALID\")\n"
    'op.execute("ALTER TABLE patients VALIDATE CONSTRAINT ck")\n'
    'op.alter_column("patients", "sex", nullable=False)',
    "op.execute(\"INSERT INTO kinds VALUES ('drop table; truncate')\")",
)


@pytest.mark.parametrize("body", BAD)
def test_a_migration_that_breaks_the_running_version_is_refused_unless_it_says_why(body):
    assert objections_to(revision(body))
    assert not objections_to(revision(body, 'CONTRACT = "nothing has read it since 1.4"'))
    assert objections_to(revision(body, 'CONTRACT = " "'))


@pytest.mark.parametrize("body", GOOD)
def test_a_migration_that_only_adds_passes(body):
    assert objections_to(revision(body)) == []
