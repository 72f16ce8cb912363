"""What a service remembers of each organisation's rules, as the organization service last told them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from common.auth import Caller
from common.events import Event
from common.outbox import record


class RulesOfOrganization:
    """Mixin of the table: one row per organisation, with the rules that the service obeys as columns."""

    __tablename__ = "organization_rules"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    settings_version: Mapped[int]


def keep_rules(session: Session, caller: Caller, table: type[Any], event: Event) -> None:
    """Remember the rules that an event tells, unless newer ones are known: messages may overtake each other."""
    rules = msgspec.structs.asdict(event)
    session.execute(
        insert(table)
        .values(org_id=caller.org_id, **rules)
        .on_conflict_do_update(
            index_elements=[table.org_id], set_=rules, where=table.settings_version < rules["settings_version"]
        )
    )
    record(session, caller, "organization_rules.kept", f"organizations:{caller.org_id}", rules)
