"""What e-mails say, and that no text can add a header."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest

from notification_service.letters import BadAddress, write_account_letter, write_letter

SETTINGS = SimpleNamespace(
    smtp_from="alertas@heartguard.test", public_url="https://hg.test/", password_reset_url="https://hg.test/clave"
)


def letter(address="a@clinic.test", language="es", **changes):
    request = {
        "alert_id": uuid4(),
        "patient_id": uuid4(),
        "level": "critical",
        "alert_type": "DESAT",
        "observed_at": datetime(2026, 3, 1, tzinfo=UTC),
    }
    delivery = SimpleNamespace(id=uuid4(), address=address, language=language, created_at=datetime.now(UTC))
    return write_letter(SETTINGS, SimpleNamespace(**(request | changes)), delivery)


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "no-at",
        "a@b.test\nBcc: thief@b.test",
        "a@b.test\r\n\r\nbody",
        "a@b.test, thief@b.test",
        "A <a@b.test>",
        "a b@c.test",
    ],
)
def test_an_address_cannot_smuggle_a_header_or_a_second_recipient(address):
    with pytest.raises(BadAddress):
        letter(address)


def test_markup_in_a_code_stays_text():
    html = letter(alert_type="<B>").get_body(("html",)).get_content()
    assert "<B>" not in html
    assert "&lt;B&gt;" in html


@pytest.mark.parametrize(
    ("language", "level", "kind", "subject"),
    [
        ("es", "critical", "DESAT", "[HeartGuard] Alarma CRÍTICA: desaturación de oxígeno"),
        ("es", "medium", "FEVER", "[HeartGuard] Alarma MEDIA: fiebre"),
        ("en", "critical", "SIGNAL_LOST", "[HeartGuard] CRITICAL alarm: signal lost"),
        ("en", "high", "NEW_KIND", "[HeartGuard] HIGH alarm: NEW_KIND"),
    ],
)
def test_subjects(language, level, kind, subject):
    assert letter(language=language, level=level, alert_type=kind)["Subject"] == subject


def test_the_link_leads_to_the_alert():
    alert_id = uuid4()
    assert f"https://hg.test/alerts/{alert_id}" in letter(alert_id=alert_id).get_body(("plain",)).get_content()


def test_the_same_delivery_makes_the_same_letter_again():
    request = SimpleNamespace(
        alert_id=uuid4(), patient_id=uuid4(), level="high", alert_type="DESAT", observed_at=datetime.now(UTC)
    )
    delivery = SimpleNamespace(id=uuid4(), address="a@b.test", language="es", created_at=datetime.now(UTC))
    first, second = (write_letter(SETTINGS, request, delivery) for _ in range(2))
    assert first.items() == second.items()


@pytest.mark.parametrize("language", ["es", "en"])
def test_a_reset_letter_carries_the_token_after_the_fragment_sign(language):
    item = SimpleNamespace(id=uuid4(), created_at=datetime.now(UTC))
    content = {"kind": "password_reset", "email": "a@b.test", "language": language, "token": "abc.def"}
    assert "https://hg.test/clave#token=abc.def" in write_account_letter(SETTINGS, item, content).get_content()
