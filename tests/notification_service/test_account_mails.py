"""Letters about accounts: asked for by the auth service over HTTP, with a token that works."""

from __future__ import annotations

import os
import re
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from common.database import ALL_ORGANIZATIONS
from tests.support.listening import listening
from tests.support.services import Person, event_like


def forget_password(desk):
    """Ask for a reset as a person would, and hand the event on as the broker would."""
    desk.patient("es")
    answer = desk.auth.call("POST", "/auth/password/forgot", json={"email": desk.emails[0]})
    assert answer.status_code == 204, answer.text
    event = desk.auth.outbox("account.mail")[-1]
    published = event_like("account.mail", "notification.topic", **event["data"])
    assert desk.service.deliver(published, desk.person.org_id) == [True]
    return published


def test_a_forgotten_password_is_reset_with_the_letter(desk):
    forget_password(desk)
    desk.send_account_mails()
    (message,) = desk.letters()
    assert message["Subject"] == "[HeartGuard] Restablecer la contraseña"
    (token,) = re.findall(r"[0-9a-f]{32}\.\S+", message.get_content())
    body = {"token": token, "password": "cuatro perros en el patio"}
    assert desk.auth.call("POST", "/auth/password/reset", json=body).status_code == 204
    assert "account_mail.sent" in [
        event["data"]["action"] for event in desk.service.outbox("audit.log", desk.person.org_id)
    ]


def test_a_letter_delivered_twice_is_sent_once(desk):
    published = forget_password(desk)
    assert desk.service.deliver(published, desk.person.org_id) == [True]  # another message about the same letter
    desk.send_account_mails()
    assert len(desk.letters()) == 1


def test_somebody_in_no_organisation_gets_their_letter_too(desk):
    desk.emails.append(f"{uuid4().hex}@home.test")
    account = {"name": "Luz Mora", "email": desk.emails[0], "password": "tres gatos en el tejado", "language": "en"}
    assert desk.auth.call("POST", "/auth/register", json=account).status_code == 201
    assert desk.auth.call("POST", "/auth/password/forgot", json={"email": desk.emails[0]}).status_code == 204
    event = desk.auth.outbox("account.mail")[-1]
    assert "orgid" not in event
    desk.service.deliver(event_like("account.mail", "notification.topic", **event["data"]), None)
    desk.send_account_mails()
    (message,) = desk.letters()
    assert message["Subject"] == "[HeartGuard] Reset the password"


def test_while_auth_is_away_the_letter_waits(desk, monkeypatch):
    published = forget_password(desk)
    with monkeypatch.context() as patch:
        patch.setitem(os.environ, "AUTH_URL", "http://127.0.0.1:9")
        desk.send_account_mails()
    assert desk.letters() == []
    with desk.service.database.transaction(desk.person.org_id, technical=True) as session:
        statement = text("UPDATE account_mails SET next_attempt_at = now() WHERE id = :id")
        session.execute(statement, {"id": published.account_mail_id})
    desk.send_account_mails()
    assert len(desk.letters()) == 1


@pytest.fixture
def organizations(service):
    """The organization service, listening where the notification service looks for it."""
    with listening(service("organization")) as running:
        yield running


@pytest.mark.parametrize(
    ("language", "subject"),
    [("es", "[HeartGuard] Hospital <del Mar> le invita"), ("en", "[HeartGuard] Hospital <del Mar> invites you")],
)
def test_an_invitation_is_mailed_and_opens_what_it_says(desk, organizations, language, subject):
    everywhere = Person(org_id=None, roles=("superadmin",))
    body = {"code": f"hospital-{uuid4().hex[:12]}", "name": "Hospital <del Mar>"}
    hospital = organizations.call("POST", "/organizations", everywhere, json=body).json["data"]
    desk.emails.append(f"{uuid4().hex}@home.test")
    admin = Person(org_id=UUID(hospital["id"]), roles=("org_admin",))
    body = {"email": desk.emails[0], "role": "clinician", "language": language}
    path = f"/organizations/{hospital['id']}/invitations"
    token = organizations.call("POST", path, admin, json=body).json["data"]["token"]
    (event,) = organizations.outbox("invitation.mail", admin.org_id)
    assert token not in str(event)
    published = event_like("invitation.mail", "notification.topic", **event["data"])
    assert desk.service.deliver(published, admin.org_id, twice=True) == [True, False]
    desk.send_account_mails()
    (message,) = desk.letters()
    assert message["Subject"] == subject
    assert token in message.get_content()
    with desk.service.database.transaction(ALL_ORGANIZATIONS) as session:
        assert token not in str(session.execute(text("SELECT m::text FROM account_mails m")).scalars().all())
