"""New code, a new migration and new settings come into a suite under load: nobody is refused for longer than 1 s."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest
from dotenv import dotenv_values

from common.config import TokenSettings
from common.permissions import Permission
from common.tokens import AUDIENCE, TokenSigner
from ops.native import processes
from ops.native.servers.base import LOOPBACK, ROOT
from tests.support.operators import environment_of
from tests.support.traffic import Traffic

PARTS = ("common", "ops", "gateway", "auth_service", "patient_service", "audit_service")
EXPANSION = '''"""Note where a team meets."""

import sqlalchemy as sa
from alembic import op

from common.migrations import create_index_under_load

revision = "9999"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("care_teams", sa.Column("meeting_place", sa.String(length=80), nullable=True))
    create_index_under_load("ix_care_teams_meeting_place", "care_teams", ["meeting_place"])
'''
NEW_CODE = (
    '\n\n@app.after_request\ndef _tell_version(answer):\n    answer.headers["X-Version"] = "2"\n    return answer\n'
)


class Installation:
    """A checkout with a few services, whose suite runs on private ports."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.state = folder / "checkout", folder / "state"
        for part in PARTS:
            shutil.copytree(ROOT / part, self.checkout / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / ".env.example", self.checkout)
        self.environment = environment_of(self.state)

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ops.native", *arguments],
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def token(self) -> str:
        keys = dotenv_values(self.checkout / ".env", interpolate=False)["JWT_SIGNING_KEYS"].split(",")
        settings = TokenSettings(
            service="gateway",
            jwt_algorithm="HS256",
            jwt_issuer="heartguard",
            jwt_signing_keys=keys,
            internal_signing_keys=keys,
        )
        return TokenSigner(settings, AUDIENCE).sign(
            str(uuid4()),
            seconds=900,
            org_id=uuid4(),
            roles=("clinician",),
            permissions=[permission.value for permission in Permission],
            session_id=str(uuid4()),
        )

    def column(self, statement: str) -> list[str]:
        """The first column of what the superuser sees."""
        connection = psycopg2.connect(
            host=LOOPBACK,
            port=self.environment["DATABASE_PORT"],
            dbname="heartguard",
            user="postgres",
            password=dotenv_values(self.checkout / ".env", interpolate=False)["POSTGRES_PASSWORD"],
        )
        with connection.cursor() as cursor:
            cursor.execute(statement)
            found = [row[0] for row in cursor.fetchall()]
        connection.close()
        return found


@pytest.fixture
def installation():
    folder = Path(tempfile.mkdtemp(prefix="hg-"))
    folder.chmod(0o711)
    made = Installation(folder)
    try:
        made("start")
        yield made
        made("stop")
        assert processes.started_from(made.state) == []
    finally:
        shutil.rmtree(folder)


def test_code_migration_and_settings_change_under_load(installation):
    checkout = installation.checkout
    env = checkout / ".env"
    limits = "RATE_LIMITS_USER=read=1000000,write=1000000\nRATE_LIMITS_IP=read=1000000,write=1000000\n"
    env.write_text(env.read_text() + limits)
    installation("reload", "gateway")
    with Traffic(int(installation.environment["GATEWAY_PORT"]), installation.token()) as traffic:
        assert traffic.ask("GET", "/care-teams").status == 200
        migrations = checkout / "patient_service" / "migrations"
        head = max(path.name for path in migrations.glob("[0-9]*.py"))[:4]
        (migrations / "9999_meeting_place.py").write_text(EXPANSION.format(head=head))
        app = checkout / "patient_service" / "app.py"
        app.write_text(app.read_text() + NEW_CODE)
        lines = env.read_text().splitlines()
        env.write_text("\n".join([*(line for line in lines if "LOG_LEVEL=" not in line), "LOG_LEVEL=WARNING", ""]))
        installation("reload")
    print(traffic.summary())
    assert len(traffic.outcomes) > 100
    assert not traffic.dishonest(), traffic.dishonest()[:5]
    assert traffic.seconds_of_503() < 1
    assert "meeting_place" in installation.column(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'patient'"
    )
    made = installation.column("SELECT name FROM patient.care_teams")
    assert sorted(made) == sorted(traffic.made)
    connection = http.client.HTTPConnection(LOOPBACK, int(installation.environment["PATIENT_PORT"]), timeout=5)
    connection.request("GET", "/health")
    assert connection.getresponse().getheader("X-Version") == "2"
    connection.close()
    assert "nothing was changed" in installation("start")
