"""How an organisation looks: colours that can be read, and a logo that is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from common.auth import Caller
from common.conditional import Precondition
from common.database import ALL_ORGANIZATIONS, Database
from common.errors import NotFound, ValidationFailed
from common.http import InternalClient
from common.outbox import record
from common.permissions import Permission
from organization_service import queries
from organization_service.errors import FaintColor
from organization_service.models import OrgBrand

# WCAG 2.1, success criterion 1.4.3 (AA).
MIN_CONTRAST = 4.5


def change_brand(
    database: Database,
    client: InternalClient,
    caller: Caller,
    precondition: Precondition,
    organization_id: UUID,
    **values: Any,
) -> OrgBrand:
    """Change some of the looks; raises NotFound, PreconditionFailed, FaintColor, ValidationFailed, Unavailable."""
    for name in ("primary_color", "secondary_color"):
        if name in values:
            check_contrast(values[name])
    scope = ALL_ORGANIZATIONS if caller.org_id is None else caller.org_id  # only a superadmin comes without one
    with database.transaction(scope) as session:
        queries.get_brand(session, caller, organization_id)
    if values.get("logo_media_id") is not None:
        _check_logo(client, replace(caller, org_id=organization_id), values["logo_media_id"])
    with database.transaction(scope) as session:
        precondition(session, lambda: queries.get_brand(session, caller, organization_id))
        brand = queries.get_brand(session, caller, organization_id)
        record(session, caller, "organization.brand_changed", brand, brand.change(**values))
    return brand


def check_contrast(color: str) -> None:
    """Raise FaintColor when white text on `color` (`#rrggbb`) cannot be read."""
    contrast = 1.05 / (_luminance(color) + 0.05)
    if contrast < MIN_CONTRAST:
        raise FaintColor(color=color, contrast=f"{contrast:.1f}")


def _luminance(color: str) -> float:
    """Relative luminance of an sRGB colour, 0..1 (WCAG 2.1)."""
    parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _check_logo(client: InternalClient, caller: Caller, media_id: UUID) -> None:
    """The logo is an image of this organisation that has arrived."""
    try:
        media = client.get(caller, "media", f"/media/{media_id}", permissions=[Permission.MEDIA_READ])
    except NotFound as error:
        raise ValidationFailed(details=[{"field": "logo_media_id", "issue": "choice"}]) from error
    if media["status"] != "ready" or not media["content_type"].startswith("image/"):
        raise ValidationFailed(details=[{"field": "logo_media_id", "issue": "choice"}])
