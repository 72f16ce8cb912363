"""Tables of the patient service. Catalogues are check constraints: their values are fixed by the contract."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from common.database import Entity, one_of, service_registry
from common.rules import RulesOfOrganization

SEXES = ("M", "F", "O")
RISK_LEVELS = ("low", "medium", "high")
TEAM_ROLES = ("doctor", "nurse", "admin", "specialist")
WHOLE_ORGANIZATION = "organization"
"""The scope of an organisation whose clinicians see every patient."""
RELATIONS = ("parent", "spouse", "sibling", "child", "friend")


class Base(DeclarativeBase):
    """The base of this service's models."""

    registry = service_registry()


class Patient(Entity, Base):
    """A person who is monitored, in one organisation."""

    __tablename__ = "patients"
    __table_args__ = (
        one_of("sex", SEXES),
        one_of("risk_level", RISK_LEVELS),
        UniqueConstraint("org_id", "email"),
        Index("ix_patients_org_id_id", "org_id", "id"),
    )

    org_id: Mapped[UUID]
    user_id: Mapped[UUID | None] = mapped_column(index=True)
    name: Mapped[str] = mapped_column(String(120))
    email: Mapped[str | None] = mapped_column(String(150))
    birthdate: Mapped[date]
    sex: Mapped[str] = mapped_column(String(1))
    risk_level: Mapped[str] = mapped_column(String(10))

    def change(self, **values: Any) -> list[str]:
        """Set the given fields; returns the names of those that changed."""
        changed = [name for name, value in values.items() if getattr(self, name) != value]
        for name in changed:
            setattr(self, name, values[name])
        return changed


class CareTeam(Entity, Base):
    """A group of clinicians who care for patients together."""

    __tablename__ = "care_teams"
    __table_args__ = (UniqueConstraint("org_id", "name"),)

    org_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(120))


class CareTeamMember(Entity, Base):
    """A user's place in a care team."""

    __tablename__ = "care_team_member"
    __table_args__ = (one_of("role", TEAM_ROLES), UniqueConstraint("care_team_id", "user_id"))

    org_id: Mapped[UUID]
    care_team_id: Mapped[UUID] = mapped_column(ForeignKey("care_teams.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(index=True)
    role: Mapped[str] = mapped_column(String(20))


class PatientCareTeam(Entity, Base):
    """A patient in the care of a team."""

    __tablename__ = "patient_care_team"
    __table_args__ = (UniqueConstraint("patient_id", "care_team_id"),)

    org_id: Mapped[UUID]
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"))
    care_team_id: Mapped[UUID] = mapped_column(ForeignKey("care_teams.id", ondelete="CASCADE"), index=True)


class CaregiverPatient(Entity, Base):
    """A caregiver's link to a patient; it lives until `ended_at`."""

    __tablename__ = "caregiver_patient"
    __table_args__ = (one_of("relation", RELATIONS), UniqueConstraint("patient_id", "user_id"))

    org_id: Mapped[UUID]
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(index=True)
    relation: Mapped[str] = mapped_column(String(20))
    ended_at: Mapped[datetime | None]


class PatientAccess(Entity, Base):
    """A patient opened for a time to somebody outside their care teams.

    Whoever registers one sees them for as long, to entrust them to a team: `reason` is then null.
    """

    __tablename__ = "patient_access"

    org_id: Mapped[UUID]
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[UUID] = mapped_column(index=True)
    reason: Mapped[str | None] = mapped_column(String(500))
    expires_at: Mapped[datetime]


class OrganizationRules(RulesOfOrganization, Base):
    """Which patients an organisation's clinicians see: those of their care teams, or all."""

    patient_scope: Mapped[str] = mapped_column(String(20))


class PatientMetric(Entity, Base):
    """A value that a person recorded (weight, glucose ...), not a stream."""

    __tablename__ = "patient_metrics"

    org_id: Mapped[UUID]
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(60))
    value: Mapped[float]
    unit: Mapped[str] = mapped_column(String(20))
    measured_at: Mapped[datetime]


class PatientGoal(Entity, Base):
    """A target agreed with the patient."""

    __tablename__ = "patient_goals"

    org_id: Mapped[UUID]
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(60))
    target: Mapped[float]
    unit: Mapped[str] = mapped_column(String(20))
    due_on: Mapped[date | None]
