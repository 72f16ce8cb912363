"""The audit trail's only table. Its rows are written once: no grant, and no trigger, lets anybody change them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Index, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from common.database import service_registry


class Base(DeclarativeBase):
    """The base of this service's models."""

    registry = service_registry()


class AuditLog(Base):
    """One action, at its place in the chain. Rows of the system and of logins have no organisation."""

    __tablename__ = "audit_logs"
    __table_args__ = (
        Index("ix_audit_logs_org_id_id", "org_id", "id"),
        Index("ix_audit_logs_org_id_ts", "org_id", "ts"),
        Index("ix_audit_logs_org_id_actor_id", "org_id", "actor", "id"),
        Index("ix_audit_logs_org_id_action_id", "org_id", "action", "id"),
        Index("ix_audit_logs_org_id_entity_id_id", "org_id", "entity_id", "id"),
        Index("ix_audit_logs_request_id", "request_id"),
    )

    # The place in the chain, without a gap: the primary key alone refuses a fork.
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[UUID] = mapped_column(unique=True)
    org_id: Mapped[UUID | None]
    ts: Mapped[datetime]
    actor: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(String(80))
    entity: Mapped[str] = mapped_column(Text)
    entity_id: Mapped[str | None] = mapped_column(Text)
    ip: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str] = mapped_column(Text)
    # Not JSONB, which rewrites numbers: what was hashed must come back as it was.
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))

    @property
    def hash_hex(self) -> str:
        """The hash in hexadecimal."""
        return self.hash.hex()
