"""How an organisation looks: colours under white text that can be read, and a logo that is there."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest
from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS


@pytest.fixture
def brand(hospital):
    return f"/organizations/{hospital['id']}/brand"


def file_of(media, org_id, content_type="image/png", status="ready"):
    """A file in the media service, as if it had been uploaded."""
    media_id = str(uuid4())
    insert = text(
        "INSERT INTO media_assets (id, org_id, version, owner_kind, owner_id, filename, content_type, size_bytes,"
        " status) VALUES (:id, :org_id, 1, 'organization', :org_id, 'logo.png', :content_type, 1, :status)"
    )
    values = {"id": media_id, "org_id": org_id, "content_type": content_type, "status": status}
    with media.database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        session.execute(insert, values)
    return media_id


def test_the_brand_has_readable_defaults_and_changes(organizations, admin, brand):
    before = organizations.call("GET", brand, admin).json["data"]
    assert (before["primary_color"], before["logo_media_id"]) == ("#b3122d", None)
    colors = {name: before[name] for name in ("primary_color", "secondary_color")}
    assert organizations.call("PATCH", brand, admin, json=colors).status_code == 200  # the defaults pass the check
    assert organizations.call("PATCH", brand, admin, json={"primary_color": "#005f73"}).status_code == 200
    assert organizations.call("GET", brand, admin).json["data"]["primary_color"] == "#005f73"
    assert organizations.audited(admin.org_id)[-1] == "organization.brand_changed"


@pytest.mark.parametrize(
    ("color", "error"),
    [
        ("#767676", None),  # 4.54:1, the lightest grey that passes, https://www.w3.org/WAI/WCAG21
        ("#777777", "HG-ORG-004"),  # 4.48:1
        ("#ffffff", "HG-ORG-004"),
        ("#ff0000", "HG-ORG-004"),  # 4.00:1
        ("red", "HG-VAL-001"),
        ("#FFF", "HG-VAL-001"),
        ("#12345g", "HG-VAL-001"),
        ("url(x)", "HG-VAL-001"),
    ],
)
def test_colours_are_checked(organizations, admin, brand, color, error):
    answer = organizations.call("PATCH", brand, admin, json={"primary_color": color})
    assert (answer.json.get("error") or {}).get("id") == error
    assert answer.status_code == (400 if error else 200)


def test_a_logo_is_an_image_of_the_organisation(organizations, media, admin, stranger, brand):
    logo = file_of(media, admin.org_id)
    assert organizations.call("PATCH", brand, admin, json={"logo_media_id": logo}).status_code == 200
    wrong = [
        file_of(media, stranger.org_id),
        file_of(media, admin.org_id, content_type="application/pdf"),
        file_of(media, admin.org_id, status="pending"),
        str(uuid4()),
    ]
    for media_id in wrong:
        answer = organizations.call("PATCH", brand, admin, json={"logo_media_id": media_id})
        assert (answer.status_code, answer.json["error"]["details"][0]["field"]) == (400, "logo_media_id")
    assert organizations.call("GET", brand, admin).json["data"]["logo_media_id"] == logo
    assert organizations.call("PATCH", brand, admin, json={"logo_media_id": None}).status_code == 200


def test_media_away_is_said_as_503(organizations, admin, brand, monkeypatch):
    monkeypatch.setitem(os.environ, "MEDIA_URL", "http://127.0.0.1:9")  # discard: nobody listens
    answer = organizations.call("PATCH", brand, admin, json={"logo_media_id": str(uuid4())})
    assert (answer.status_code, answer.json["error"]["id"]) == (503, "HG-SRV-002")


def test_another_organisation_gets_the_same_as_for_none(organizations, stranger, brand):
    absent = f"/organizations/{uuid4()}/brand"
    for method, json in (("GET", None), ("PATCH", {"primary_color": "#005f73"})):
        answers = [organizations.call(method, path, stranger, json=json) for path in (brand, absent)]
        assert [answer.status_code for answer in answers] == [404, 404]
