"""Tables of the auth service. A token, code or password is only ever here as a hash or sealed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from common.database import Entity, one_of, service_registry
from common.rules import RulesOfOrganization

ACTIVE, BLOCKED, PENDING = USER_STATUSES = ("active", "blocked", "pending")
PLATFORMS = ("android", "ios", "web")
LANGUAGES = ("es", "en")
PASSWORD_RESET, PASSWORD_CHANGED = MAIL_KINDS = ("password_reset", "password_changed")


class Base(DeclarativeBase):
    """The base of this service's models."""

    registry = service_registry()


class Catalogue(Base):
    """A fixed list: a code and what people read."""

    __abstract__ = True

    code: Mapped[str] = mapped_column(String(20), primary_key=True)
    label_es: Mapped[str] = mapped_column(String(60))
    label_en: Mapped[str] = mapped_column(String(60))


class UserStatus(Catalogue):
    """What an account may be."""

    __tablename__ = "user_statuses"


class Platform(Catalogue):
    """Where a client runs."""

    __tablename__ = "platforms"


class ServiceStatus(Catalogue):
    """How a service may fare."""

    __tablename__ = "service_statuses"


class Permission(Base):
    """A `resource:action` of common.permissions."""

    __tablename__ = "permissions"

    code: Mapped[str] = mapped_column(String(40), primary_key=True)


class RolePermission(Base):
    """A permission in a role."""

    __tablename__ = "role_permission"

    role_id: Mapped[UUID] = mapped_column(ForeignKey("roles.id", ondelete="CASCADE"), primary_key=True)
    permission: Mapped[str] = mapped_column(ForeignKey("permissions.code"), primary_key=True)


class Role(Entity, Base):
    """A named set of permissions; a built-in one cannot be deleted."""

    __tablename__ = "roles"

    code: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    built_in: Mapped[bool] = mapped_column(default=False)
    grants: Mapped[list[RolePermission]] = relationship(lazy="selectin", cascade="all, delete-orphan")

    @property
    def permissions(self) -> list[str]:
        """The codes of its permissions, sorted."""
        return sorted(grant.permission for grant in self.grants)


class UserRole(Base):
    """A role that a user holds."""

    __tablename__ = "user_roles"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    role_id: Mapped[UUID] = mapped_column(ForeignKey("roles.id"), primary_key=True, index=True)


class Membership(Base):
    """A role that a user holds as a guest: in an organisation that is not the account's own."""

    __tablename__ = "memberships"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    role_id: Mapped[UUID] = mapped_column(ForeignKey("roles.id"), primary_key=True, index=True)


class User(Entity, Base):
    """An account; without `org_id` it belongs to no organisation (superadmin, self-registered patient)."""

    __tablename__ = "users"
    __table_args__ = (one_of("language", LANGUAGES), Index("ix_users_org_id_id", "org_id", "id"))

    org_id: Mapped[UUID | None]
    email: Mapped[str] = mapped_column(String(150), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    password_hash: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(ForeignKey("user_statuses.code"), default=ACTIVE)
    language: Mapped[str] = mapped_column(String(2), default="es")
    totp_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_confirmed_at: Mapped[datetime | None]
    totp_last_step: Mapped[int | None] = mapped_column(BigInteger)
    held: Mapped[list[Role]] = relationship(secondary="user_roles", lazy="selectin")

    @property
    def roles(self) -> list[str]:
        """The codes of the user's roles, sorted."""
        return sorted(role.code for role in self.held)

    @property
    def second_factor(self) -> bool:
        """True when logging in needs a code besides the password."""
        return self.totp_confirmed_at is not None

    def change(self, **values: Any) -> list[str]:
        """Set the given fields; returns the names of those that changed."""
        changed = [name for name, value in values.items() if getattr(self, name) != value]
        for name in changed:
            setattr(self, name, values[name])
        return changed


class RecoveryCode(Base):
    """The keyed hash of an unused code that stands in for the second factor once."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)


class UserSession(Entity, Base):
    """One login and all the refresh tokens that follow from it: a family that lives and is revoked as one.

    It belongs to a user, or to a device that was paired.
    """

    __tablename__ = "sessions"
    __table_args__ = (CheckConstraint("(user_id IS NULL) <> (device_id IS NULL)", name="holder"),)

    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    device_id: Mapped[UUID | None] = mapped_column(index=True)
    org_id: Mapped[UUID | None]
    platform: Mapped[str | None] = mapped_column(ForeignKey("platforms.code"))
    user_agent: Mapped[str | None] = mapped_column(String(200))
    ip: Mapped[str | None] = mapped_column(String(45))
    last_used_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class RefreshToken(Base):
    """A refresh token's SHA-256; `successor_sealed` opens only with the token itself (see tokens.py)."""

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    successor_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    client_id: Mapped[str | None] = mapped_column(String(100))
    device_fingerprint: Mapped[str | None] = mapped_column(String(200))
    ip: Mapped[str | None] = mapped_column(String(45))


class Revocation(Base):
    """Access tokens that no longer count: those of `subject`, and with `before` only those issued until then.

    `subject` is `token:<jti>`, `session:<id>` or `user:<id>`. Rows live as long as an access token can.
    """

    __tablename__ = "revocations"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    subject: Mapped[str] = mapped_column(String(60), index=True)
    before: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    mirrored: Mapped[bool] = mapped_column(default=False)


class LoginFailures(Base):
    """Failures since `since` from one source: an account, or an account on a device it knows."""

    __tablename__ = "login_failures"

    source: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    count: Mapped[int]
    since: Mapped[datetime] = mapped_column(index=True)
    locked_until: Mapped[datetime | None]


class OrganizationRules(RulesOfOrganization, Base):
    """What an organisation asks of those who log in."""

    second_factor_required: Mapped[bool]


class DevicePairing(Entity, Base):
    """The keyed hash of a code that opens a device's session once; `tries` counts those who got it wrong."""

    __tablename__ = "device_pairings"

    org_id: Mapped[UUID]
    device_id: Mapped[UUID] = mapped_column(unique=True)
    selector: Mapped[str] = mapped_column(String(4), unique=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary)
    tries: Mapped[int] = mapped_column(default=0)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class AccountMail(Entity, Base):
    """A letter about an account, which notification_service sends; `used_at` is set when its link was followed."""

    __tablename__ = "account_mails"
    __table_args__ = (one_of("kind", MAIL_KINDS),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    org_id: Mapped[UUID | None]
    kind: Mapped[str] = mapped_column(String(20))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]
