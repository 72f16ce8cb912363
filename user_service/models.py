"""Tables of the user service. Accounts, names and addresses are auth's; a person has the same id here as there."""

from __future__ import annotations

from typing import Any, Self
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from common.database import Entity, one_of, service_registry
from common.rules import RulesOfOrganization

LANGUAGES = ("es", "en")
CHANNELS = ("SMS", "EMAIL", "PUSH", "WEBHOOK")
PLATFORMS = ("android", "ios", "web")
LEVELS = ("low", "medium", "high", "critical")


class Base(DeclarativeBase):
    """The base of this service's models."""

    registry = service_registry()


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
    """How a person wants to be told; `id` is the account's, whose language holds where they named none.

    Quiet hours are `HH:MM` in `timezone`; `ways` says what they do.
    """

    __tablename__ = "user_preferences"
    __table_args__ = (
        one_of("language", LANGUAGES),
        CheckConstraint("cardinality(channels) > 0", name="channels"),
        CheckConstraint("(quiet_from IS NULL) = (quiet_until IS NULL)", name="quiet_hours"),
    )

    language: Mapped[str | None] = mapped_column(String(2))
    channels: Mapped[list[str]] = mapped_column(ARRAY(String(10)))
    timezone: Mapped[str] = mapped_column(String(64))
    quiet_from: Mapped[str | None] = mapped_column(String(5))
    quiet_until: Mapped[str | None] = mapped_column(String(5))

    @classmethod
    def new(cls, user_id: UUID) -> Self:
        """The preferences of somebody who has not said anything: every alarm, in the account's language."""
        return cls(id=user_id, channels=["EMAIL", "PUSH"], timezone="UTC")


class OrganizationRules(RulesOfOrganization, Base):
    """The quiet hours of an organisation's people, in its time zone."""

    timezone: Mapped[str] = mapped_column(String(64))
    quiet_from: Mapped[str | None] = mapped_column(String(5))
    quiet_until: Mapped[str | None] = mapped_column(String(5))


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
