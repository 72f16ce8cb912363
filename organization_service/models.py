"""Tables of the organization service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, ForeignKey, SmallInteger, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from common.database import Entity, one_of, service_registry

LOCALES = ("es", "en")
BASE_ROLES = ("org_admin", "clinician", "caregiver", "patient", "org_viewer")
PATIENT_SCOPES = ("care_team", "organization")
MIN_RETENTION_DAYS, MAX_RETENTION_DAYS = 30, 36_500


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


class Organization(Changeable, Entity, Base):
    """A hospital, clinic or group. It is never deleted: patients, alarms and the audit trail elsewhere name it."""

    __tablename__ = "organizations"

    # Row-level security asks every table for an org_id: the same policy then serves this one too, and its guard test.
    org_id: Mapped[UUID] = mapped_column(Computed("id", persisted=True))
    code: Mapped[str] = mapped_column(String(60), unique=True)
    name: Mapped[str] = mapped_column(String(160))
    removed_at: Mapped[datetime | None]


def _organization() -> Mapped[UUID]:
    return mapped_column(ForeignKey("organizations.id"), index=True)


class OrgSettings(Changeable, Entity, Base):
    """The rules of one organisation. Quiet hours are local times `HH:MM`; they never silence a critical alarm."""

    __tablename__ = "org_settings"
    __table_args__ = (
        one_of("locale", LOCALES),
        one_of("patient_scope", PATIENT_SCOPES),
        CheckConstraint(f"retention_days BETWEEN {MIN_RETENTION_DAYS} AND {MAX_RETENTION_DAYS}", name="retention_days"),
        CheckConstraint("(quiet_from IS NULL) = (quiet_until IS NULL)", name="quiet_hours"),
        UniqueConstraint("org_id"),
    )

    org_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    locale: Mapped[str] = mapped_column(String(2), default="es")
    timezone: Mapped[str] = mapped_column(String(64), default="UTC")
    retention_days: Mapped[int] = mapped_column(default=3650)
    quiet_from: Mapped[str | None] = mapped_column(String(5))
    quiet_until: Mapped[str | None] = mapped_column(String(5))
    second_factor_required: Mapped[bool] = mapped_column(default=False)
    # Whether clinicians see the patients of their care teams or all of the organisation's.
    patient_scope: Mapped[str] = mapped_column(String(20), default="care_team")
    # The form in which others were told these rules; a task tells those of an older form again.
    announced: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")


class OrgContact(Changeable, Entity, Base):
    """Whom to call in an organisation."""

    __tablename__ = "org_contacts"
    __table_args__ = (CheckConstraint("email IS NOT NULL OR phone IS NOT NULL", name="reachable"),)

    org_id: Mapped[UUID] = _organization()
    name: Mapped[str] = mapped_column(String(120))
    function: Mapped[str | None] = mapped_column(String(80))
    email: Mapped[str | None] = mapped_column(String(150))
    phone: Mapped[str | None] = mapped_column(String(30))


class OrgRole(Changeable, Entity, Base):
    """A name that an organisation gives to one of the suite's roles ("Supervisión de planta" is a clinician)."""

    __tablename__ = "org_roles"
    __table_args__ = (one_of("base_role", BASE_ROLES), UniqueConstraint("org_id", "code"))

    org_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    code: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(100))
    base_role: Mapped[str] = mapped_column(String(40))


class OrgInvitation(Entity, Base):
    """An invitation into an organisation; its token is here as a hash only."""

    __tablename__ = "org_invitations"
    __table_args__ = (one_of("base_role", BASE_ROLES),)

    org_id: Mapped[UUID] = _organization()
    email: Mapped[str] = mapped_column(String(150))
    # As it was offered, and what it amounts to.
    role: Mapped[str] = mapped_column(String(40))
    base_role: Mapped[str] = mapped_column(String(40))
    language: Mapped[str] = mapped_column(String(2), server_default="es")
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    invited_by: Mapped[UUID | None]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    used_by: Mapped[UUID | None]
    # When the other services had taken the member in: from then on it gives nothing any more.
    joined_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    @property
    def state(self) -> str:
        """`pending`, `accepted`, `revoked` or `expired`."""
        if self.used_at is not None:
            return "accepted"
        if self.revoked_at is not None:
            return "revoked"
        return "pending" if self.expires_at > datetime.now(UTC) else "expired"

    def accept(self, user_id: UUID) -> None:
        """It is this user's from now on."""
        self.used_at, self.used_by = datetime.now(UTC), user_id

    def revoke(self) -> None:
        """Nobody can accept it any more."""
        self.revoked_at = datetime.now(UTC)


class OrgBrand(Changeable, Entity, Base):
    """How an organisation looks: backgrounds of white text as `#rrggbb`, and its logo in the media service."""

    __tablename__ = "org_brands"
    __table_args__ = (
        CheckConstraint("primary_color ~ '^#[0-9a-f]{6}$'", name="primary_color"),
        CheckConstraint("secondary_color ~ '^#[0-9a-f]{6}$'", name="secondary_color"),
        UniqueConstraint("org_id"),
    )

    org_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    primary_color: Mapped[str] = mapped_column(String(7), default="#b3122d")
    secondary_color: Mapped[str] = mapped_column(String(7), default="#1f2937")
    logo_media_id: Mapped[UUID | None]
