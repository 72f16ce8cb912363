"""Files through the service and a real store: announced, sent by a signed link, checked, found, fetched, gone."""

from __future__ import annotations

import subprocess
import sys
import urllib.parse
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS
from media_service.tasks import purge

IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(100)


def announcement(**values):
    body = {"filename": "radiografía 1.png", "content_type": "image/png", "size_bytes": len(IMAGE)}
    return body | {"owner_kind": "patient", "owner_id": str(uuid4()), "tags": ["torax"]} | values


def announce(media, person, **values):
    answer = media.call("POST", "/media/uploads", person, json=announcement(**values))
    assert answer.status_code == 201, answer.text
    return answer.json["data"]


def send(upload, content=IMAGE, **headers):
    """PUT as a client would: with the headers it was told."""
    request = urllib.request.Request(
        upload["url"], data=content, headers=upload["headers"] | headers, method=upload["method"]
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 200


def uploaded(media, person, **values):
    upload = announce(media, person, **values)
    send(upload)
    answer = media.call("POST", f"/media/{upload['id']}/complete", person)
    assert answer.status_code == 200, answer.text
    return answer.json["data"]


def fetch(media, person, media_id) -> bytes:
    answer = media.call("GET", f"/media/{media_id}/download", person)
    assert answer.status_code == 302, answer.text
    with urllib.request.urlopen(answer.headers["Location"], timeout=5) as file:
        return file.read()


def rows_of(media, media_id):
    with media.database.transaction(ALL_ORGANIZATIONS) as session:
        return session.execute(text("SELECT count(*) FROM media_assets WHERE id = :id"), {"id": media_id}).scalar_one()


def object_name(person, media_id):
    return f"{person.org_id}/{media_id}"


def test_a_file_makes_its_whole_way(media, clinician):
    asset = uploaded(media, clinician)
    assert (asset["status"], asset["tags"], asset["uploaded_by"]) == ("ready", ["torax"], str(clinician.user_id))
    assert media.call("GET", f"/media/{asset['id']}", clinician).json["data"] == asset
    assert fetch(media, clinician, asset["id"]) == IMAGE
    assert media.audited(clinician.org_id) == ["media.announced", "media.completed", "media.read", "media.downloaded"]
    assert "radiograf" not in str(media.outbox("audit.log", clinician.org_id))


def test_links_are_v4_short_and_attachments(media, clinician):
    upload = announce(media, clinician)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(upload["url"]).query)
    assert query["X-Goog-Algorithm"] == ["GOOG4-RSA-SHA256"]
    assert int(query["X-Goog-Expires"][0]) <= 300
    assert datetime.fromisoformat(upload["expires_at"]) <= datetime.now(UTC) + timedelta(minutes=5)
    assert {"content-type", "x-goog-content-length-range", "x-goog-if-generation-match"} <= set(
        query["X-Goog-SignedHeaders"][0].split(";")
    )
    assert upload["headers"]["x-goog-content-length-range"] == f"{len(IMAGE)},{len(IMAGE)}"
    send(upload)
    media.call("POST", f"/media/{upload['id']}/complete", clinician)
    link = media.call("GET", f"/media/{upload['id']}/download", clinician).headers["Location"]
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(link).query)
    assert query["response-content-disposition"] == ["attachment; filename*=UTF-8''radiograf%C3%ADa%201.png"]
    assert int(query["X-Goog-Expires"][0]) <= 300


def test_a_file_that_has_not_arrived_is_neither_complete_nor_found(media, clinician):
    upload = announce(media, clinician)
    for method, path in (("POST", "complete"), ("GET", "download")):
        answer = media.call(method, f"/media/{upload['id']}/{path}", clinician)
        assert (answer.status_code, answer.json["error"]["id"]) == (409, "HG-MED-001")
    assert media.call("GET", "/media", clinician).json["data"] == []
    assert media.call("GET", f"/media/{upload['id']}", clinician).json["data"]["status"] == "pending"


@pytest.mark.parametrize(
    ("content", "headers"), [(IMAGE[:-1], {}), (IMAGE + b"x", {}), (IMAGE, {"Content-Type": "text/html"})]
)
def test_a_file_that_is_not_as_announced_is_discarded(media, clinician, content, headers):
    upload = announce(media, clinician)
    send(upload, content, **headers)  # the stand-in takes what Google would refuse
    answer = media.call("POST", f"/media/{upload['id']}/complete", clinician)
    assert (answer.status_code, answer.json["error"]["id"]) == (409, "HG-MED-002")
    assert media.call("GET", f"/media/{upload['id']}", clinician).status_code == 404
    assert media.audited(clinician.org_id)[-2:] == ["media.announced", "media.rejected"]
    storage = media.service.resources["storage"]
    assert storage.find(object_name(clinician, upload["id"])) is not None
    purge_all(media)
    assert storage.find(object_name(clinician, upload["id"])) is None


def test_completing_twice_changes_nothing(media, clinician):
    asset = uploaded(media, clinician)
    again = media.call("POST", f"/media/{asset['id']}/complete", clinician)
    assert again.json["data"] == asset
    assert media.audited(clinician.org_id) == ["media.announced", "media.completed"]


def test_files_are_found_by_owner_and_tag(media, clinician):
    owner = str(uuid4())
    wanted = uploaded(media, clinician, owner_id=owner, tags=["ecg", "urgente", "ecg"])
    uploaded(media, clinician)
    assert wanted["tags"] == ["ecg", "urgente"]
    for query in (f"owner_id={owner}", f"owner_kind=patient&owner_id={owner}&tag=ecg", "tag=urgente"):
        assert media.call("GET", f"/media?{query}", clinician).json["data"] == [wanted], query
    assert media.call("GET", f"/media?owner_kind=user&owner_id={owner}", clinician).json["data"] == []
    assert len(media.call("GET", "/media", clinician).json["data"]) == 2


def test_tags_come_and_go(media, clinician):
    asset = uploaded(media, clinician, tags=[])
    path = f"/media/{asset['id']}/tags"
    assert media.call("POST", path, clinician, json={"tag": "ecg"}).json["data"]["tags"] == ["ecg"]
    assert media.call("POST", path, clinician, json={"tag": "ecg"}).status_code == 409
    assert media.call("DELETE", f"{path}/ecg", clinician).status_code == 204
    assert media.call("DELETE", f"{path}/ecg", clinician).status_code == 404
    assert media.call("GET", f"/media/{asset['id']}", clinician).json["data"]["tags"] == []
    assert media.audited(clinician.org_id)[2:4] == ["media.tagged", "media.untagged"]


def test_a_removed_file_leaves_the_store_too(media, clinician):
    asset = uploaded(media, clinician)
    assert media.call("DELETE", f"/media/{asset['id']}", clinician).status_code == 204
    assert media.call("GET", f"/media/{asset['id']}/download", clinician).status_code == 404
    purge_all(media)
    assert media.service.resources["storage"].find(object_name(clinician, asset["id"])) is None
    assert rows_of(media, asset["id"]) == 0
    assert media.audited(clinician.org_id)[-1] == "media.removed"


def test_a_file_announced_and_forgotten_is_given_up_after_a_day(media, clinician):
    forgotten, fresh = announce(media, clinician), announce(media, clinician)
    send(forgotten)
    with media.database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        age = text("UPDATE media_assets SET created_at = now() - interval '25 hours' WHERE id = :id")
        session.execute(age, {"id": forgotten["id"]})
    purge_all(media)
    assert (rows_of(media, forgotten["id"]), rows_of(media, fresh["id"])) == (0, 1)
    assert media.service.resources["storage"].find(object_name(clinician, forgotten["id"])) is None
    assert media.audited(clinician.org_id)[-1] == "media.abandoned"


def purge_all(media) -> None:
    while purge(media.database, media.service.resources["storage"]):
        pass


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"filename": "../../etc/passwd"}, "filename"),
        ({"filename": "a\r\nb.png"}, "filename"),
        ({"content_type": "image/svg+xml"}, "content_type"),
        ({"content_type": "text/html"}, "content_type"),
        ({"size_bytes": 0}, "size_bytes"),
        ({"owner_kind": "hospital"}, "owner_kind"),
        ({"tags": ["Con espacios"]}, "tags.0"),
        ({"status": "ready"}, "status"),
        ({"org_id": str(uuid4())}, "org_id"),
    ],
)
def test_bad_announcements_are_refused(media, clinician, values, field):
    answer = media.call("POST", "/media/uploads", clinician, json=announcement(**values))
    assert answer.status_code == 400
    assert [item["field"] for item in answer.json["error"]["details"]] == [field]


def test_a_file_over_the_maximum_is_refused_before_it_is_sent(media, clinician):
    body = announcement(size_bytes=media.service.settings.max_media_bytes + 1)
    answer = media.call("POST", "/media/uploads", clinician, json=body)
    assert (answer.status_code, answer.json["error"]["id"]) == (413, "HG-MED-004")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/complete"),
        ("GET", "/download"),
        ("POST", "/tags"),
        ("DELETE", "/tags/torax"),
    ],
)
def test_another_organisation_sees_and_changes_nothing(media, clinician, stranger, method, path):
    asset = uploaded(media, clinician)
    body = {"tag": "x"} if path == "/tags" else None
    foreign, absent = (media.call(method, f"/media/{id_}{path}", stranger, json=body) for id_ in (asset["id"], uuid4()))
    assert foreign.status_code == absent.status_code == 404
    assert foreign.json["error"]["id"] == absent.json["error"]["id"]
    assert media.call("GET", "/media", stranger).json["data"] == []
    assert media.call("GET", f"/media/{asset['id']}", clinician).json["data"] == asset


def test_a_caregiver_sees_what_is_their_own(media, clinician, cared_for):
    caregiver = replace(clinician, user_id=uuid4(), roles=("caregiver",))
    cared_for(caregiver, uuid4())
    theirs = uploaded(media, caregiver, owner_kind="organization")
    about = uploaded(media, clinician, owner_kind="user", owner_id=str(caregiver.user_id))
    other = uploaded(media, clinician)
    seen = {row["id"] for row in media.call("GET", "/media", caregiver).json["data"]}
    assert seen == {theirs["id"], about["id"]}
    assert media.call("GET", f"/media/{other['id']}/download", caregiver).status_code == 404


@pytest.mark.parametrize("role", ["clinician", "caregiver", "patient"])
def test_people_see_the_files_of_those_whom_they_may_see(media, clinician, cared_for, role):
    person = replace(clinician, user_id=uuid4(), roles=(role,))
    mine, other = uploaded(media, clinician), uploaded(media, clinician)
    cared_for(person, mine["owner_id"])
    seen = [row["id"] for row in media.call("GET", "/media", person).json["data"]]
    assert seen == [mine["id"]]
    statuses = [media.call("GET", f"/media/{asset['id']}", person).status_code for asset in (mine, other)]
    assert statuses == [200, 404]
    bodies = [announcement(owner_id=asset["owner_id"]) for asset in (mine, other)]
    answers = [media.call("POST", "/media/uploads", person, json=body).status_code for body in bodies]
    assert answers == [201, 404]


def test_postgresql_hides_what_a_query_forgot(media, clinician, stranger):
    uploaded(media, clinician)
    for table in ("media_assets", "media_tags"):
        count = text(f"SELECT count(*) FROM {table} WHERE org_id = :org")
        for scope, rows in ((clinician.org_id, 1), (stranger.org_id, 0), (None, 0)):
            with media.database.transaction(scope) as session:
                assert session.execute(count, {"org": clinician.org_id}).scalar_one() == rows


def test_without_a_store_uploads_say_so(media, clinician, monkeypatch):
    from media_service.storage import Storage

    storeless = Storage(replace(media.service.settings, bucket=None))
    monkeypatch.setitem(media.service.resources, "storage", storeless)
    answer = media.call("POST", "/media/uploads", clinician, json=announcement())
    assert (answer.status_code, answer.json["error"]["id"]) == (503, "HG-MED-003")
    assert media.audited(clinician.org_id) == []


def test_a_store_that_is_away_is_said_as_503(media, clinician, monkeypatch):
    from media_service.storage import Storage

    upload = announce(media, clinician)
    away = Storage(replace(media.service.settings, chosen_endpoint="http://127.0.0.1:9"))  # discard: nobody listens
    monkeypatch.setitem(media.service.resources, "storage", away)
    answer = media.call("POST", f"/media/{upload['id']}/complete", clinician)
    assert (answer.status_code, answer.json["error"]["id"]) == (503, "HG-SRV-002")


def test_ready_asks_the_store(media):
    answer = media.call("GET", "/ready")
    assert answer.json["data"]["dependencies"]["storage"]["state"] == "up"


def test_the_library_of_the_store_loads_at_the_first_use():
    code = "import media_service.routes, media_service.tasks, media_service.resources, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "media_service.storage" in loaded
    assert not [name for name in loaded if name.split(".")[0] == "google"]
