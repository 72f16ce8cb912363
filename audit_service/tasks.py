"""Background work of the audit service."""

from __future__ import annotations

import structlog

from audit_service.heads import SignedHeads
from audit_service.verification import MAX_VERIFY, verify_new
from common.database import ALL_ORGANIZATIONS, Database
from common.tasks import task

log = structlog.get_logger()

HEAD_EVERY_S = 300.0


@task("head", every=HEAD_EVERY_S)
def sign_head(database: Database, heads: SignedHeads) -> int:
    """Check what was written since the newest signed head, and sign the new end; returns how many rows it checked.

    A broken chain is not signed: that would make the break look like the truth.
    """
    with database.transaction(ALL_ORGANIZATIONS) as session:
        found = verify_new(session, heads, MAX_VERIFY)
    if found.broken_at is not None:
        log.error("audit.chain_broken", sequence=found.broken_at.sequence, reason=found.broken_at.reason)
        return 0
    if found.checked:
        heads.sign(found.last_sequence, found.last_hash)
    return found.checked
