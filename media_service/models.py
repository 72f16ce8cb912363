"""Tables of the media service. A row describes a file; its bytes are in the store under `object_name`."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from common.database import Entity, one_of, service_registry

# No type that a browser would run (SVG, HTML); downloads are attachments besides.
CONTENT_TYPES = (
    "application/dicom",
    "application/octet-stream",
    "application/pdf",
    "audio/wav",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/csv",
    "text/plain",
    "video/mp4",
)
PATIENT = "patient"
OWNER_KINDS = (PATIENT, "user", "organization", "alert", "device")
STATUSES = PENDING, READY = ("pending", "ready")


class Base(DeclarativeBase):
    """The base of this service's models."""

    registry = service_registry()


class MediaTag(Entity, Base):
    """A word by which a file is found."""

    __tablename__ = "media_tags"
    __table_args__ = (UniqueConstraint("asset_id", "tag"), Index("ix_media_tags_org_id_tag", "org_id", "tag"))

    org_id: Mapped[UUID]
    asset_id: Mapped[UUID] = mapped_column(ForeignKey("media_assets.id", ondelete="CASCADE"))
    tag: Mapped[str] = mapped_column(String(60))


def object_name(org_id: UUID | None, media_id: UUID) -> str:
    """Where the bytes of a file are; each organisation's under its own prefix."""
    return f"{org_id}/{media_id}"


class MediaAsset(Entity, Base):
    """A file: pending until its bytes are in the store and are what was announced."""

    __tablename__ = "media_assets"
    __table_args__ = (
        one_of("content_type", CONTENT_TYPES),
        one_of("owner_kind", OWNER_KINDS),
        one_of("status", STATUSES),
        CheckConstraint("size_bytes > 0", name="size_bytes"),
        Index("ix_media_assets_org_id_owner_id_id", "org_id", "owner_id", "id"),
        Index("ix_media_assets_org_id_id", "org_id", "id"),
        Index("ix_media_assets_removed_at", "removed_at"),
    )

    org_id: Mapped[UUID]
    owner_kind: Mapped[str] = mapped_column(String(20))
    owner_id: Mapped[UUID]
    filename: Mapped[str] = mapped_column(String(200))
    content_type: Mapped[str] = mapped_column(String(60))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(10), default=PENDING)
    uploaded_by: Mapped[UUID | None]
    completed_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]
    tags: Mapped[list[MediaTag]] = relationship(lazy="selectin", order_by=MediaTag.tag, cascade="all, delete-orphan")

    @property
    def object_name(self) -> str:
        """Where the bytes are."""
        return object_name(self.org_id, self.id)

    @property
    def words(self) -> list[str]:
        """Its tags as plain words."""
        return [tag.tag for tag in self.tags]

    def complete(self) -> dict[str, str]:
        """The bytes have arrived; returns the change."""
        self.status, self.completed_at = READY, datetime.now(UTC)
        return {"status": READY}

    def remove(self) -> None:
        """Out of sight; a task removes the bytes and then the row."""
        self.removed_at = datetime.now(UTC)
