"""Walks the whole audit chain and prints its length; fails where it breaks. Runs where audit's settings are."""

from __future__ import annotations

from audit_service.config import Settings
from audit_service.heads import SignedHeads
from audit_service.verification import MAX_VERIFY, verify
from common.database import ALL_ORGANIZATIONS, Database


def main() -> None:
    """Print how many rows the chain has."""
    settings = Settings.load("audit")
    database = Database(settings, worker=True)
    heads = SignedHeads(settings.head_folder, settings.signing_keys)
    cursor: int | None = 0
    last = 0
    while cursor is not None:
        with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
            found = verify(session, heads, cursor, MAX_VERIFY)
        if found.broken_at:
            raise SystemExit(f"the audit chain breaks at row {found.broken_at.sequence}: {found.broken_at.reason}")
        last, cursor = found.last_sequence, found.next_cursor
    database.close()
    print(last)


if __name__ == "__main__":
    main()
