"""Tables of the user service. Accounts, names and addresses are auth's; a person has the same id here as there."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ARRAY, CheckConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from common.database import Entity, one_of, service_base

LANGUAGES = ("es", "en")
CHANNELS = ("SMS", "EMAIL", "PUSH", "WEBHOOK")
PLATFORMS = ("android", "ios", "web")
LEVELS = ("low", "medium", "high", "critical")

Base = service_base()


class Changeable:
    """Mixin of a row that is changed field by field."""

    def change(self, **values: Any) -> list[str]:
        """Set the given fields; returns the names of those that changed."""
        changed = [name for name, value in values.items() if getattr(self, name) != value]
        for name in changed:
            setattr(self, name, values[name])
        return changed


class UserProfile(Changeable, Entity, Base):
    """What colleagues see of a person; `id` is the account's."""

    __tablename__ = "user_profiles"

    display_name: Mapped[str | None] = mapped_column(String(100))
    job_title: Mapped[str | None] = mapped_column(String(100))
    phone: Mapped[str | None] = mapped_column(String(30))

    @classmethod
    def new(cls, user_id: UUID) -> Self:
        """The profile of somebody who has not said anything."""
        return cls(id=user_id)


class UserPreferences(Changeable, Entity, Base):
    """How a person wants to be told; `id` is the account's. Quiet hours are `HH:MM` in `timezone`."""

    __tablename__ = "user_preferences"
    __table_args__ = (
        one_of("language", LANGUAGES),
        CheckConstraint("cardinality(channels) > 0", name="channels"),
        CheckConstraint("(quiet_from IS NULL) = (quiet_until IS NULL)", name="quiet_hours"),
    )

    language: Mapped[str] = mapped_column(String(2))
    channels: Mapped[list[str]] = mapped_column(ARRAY(String(10)))
    timezone: Mapped[str] = mapped_column(String(64))
    quiet_from: Mapped[str | None] = mapped_column(String(5))
    quiet_until: Mapped[str | None] = mapped_column(String(5))

    @classmethod
    def new(cls, user_id: UUID) -> Self:
        """The preferences of somebody who has not said anything: every alarm, by e-mail and push."""
        return cls(id=user_id, language="es", channels=["EMAIL", "PUSH"], timezone="UTC")

    def silences(self, level: str, at: datetime) -> bool:
        """Whether an alarm of `level` may wait at the moment `at`. Nothing silences a critical one."""
        if level == "critical" or self.quiet_from is None or self.quiet_until is None:
            return False
        start, end = time.fromisoformat(self.quiet_from), time.fromisoformat(self.quiet_until)
        clock = at.astimezone(ZoneInfo(self.timezone)).time()
        return start <= clock < end if start <= end else clock >= start or clock < end

    def way_for(self, level: str, at: datetime) -> dict[str, Any]:
        """How to tell this person of an alarm of `level` at the moment `at`."""
        return {
            "user_id": self.id,
            "language": self.language,
            "channels": self.channels,
            "silent": self.silences(level, at),
        }


class UserOrgMembership(Entity, Base):
    """A role that a person has in an organisation."""

    __tablename__ = "user_org_membership"
    __table_args__ = (UniqueConstraint("org_id", "user_id", "role"), Index("ix_user_org_membership_user_id", "user_id"))

    org_id: Mapped[UUID]
    user_id: Mapped[UUID]
    role: Mapped[str] = mapped_column(String(40))


class UserDevice(Entity, Base):
    """A phone or browser that a person uses."""

    __tablename__ = "user_devices"
    __table_args__ = (one_of("platform", PLATFORMS), UniqueConstraint("user_id", "fingerprint"))

    user_id: Mapped[UUID]
    platform: Mapped[str] = mapped_column(String(10))
    name: Mapped[str] = mapped_column(String(100))
    fingerprint: Mapped[str] = mapped_column(String(200))
