"""What the organization service does in the background."""

from __future__ import annotations

from sqlalchemy import select

from common.auth import service_caller
from common.database import ALL_ORGANIZATIONS, Database
from common.tasks import task
from organization_service import actions
from organization_service.models import OrgSettings

BATCH = 50


@task("rules", every=3600)
def announce_rules(database: Database) -> int:
    """Tell the rules that other services know in no or in an older form; returns how many organisations' they were."""
    untold = select(OrgSettings).where(OrgSettings.announced < actions.RULES_FORM).order_by(OrgSettings.id)
    with database.transaction(ALL_ORGANIZATIONS) as session:
        found = session.scalars(untold.limit(BATCH).with_for_update(skip_locked=True)).all()
        for settings in found:
            actions.announce_rules(session, service_caller(database.service, settings.org_id), settings)
    return len(found)
