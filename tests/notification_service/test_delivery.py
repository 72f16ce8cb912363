"""From a request to a mailbox, with real neighbours: who is told, what they read, and what if nobody can be told."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from structlog.testing import CapturingLogger

from notification_service import actions, sending
from notification_service.models import AlertDelivery


def test_an_alarm_reaches_everybody_in_their_language(desk):
    patient_id = desk.patient("es", "en")
    request = desk.notify(patient_id)
    desk.work()
    spanish, english = (next(m for m in desk.letters() if m["X-Envelope-To"] == email) for email in desk.emails)
    assert spanish["Subject"] == "[HeartGuard] Alarma ALTA: arritmia"
    assert english["Subject"] == "[HeartGuard] HIGH alarm: arrhythmia"
    for message, language in ((spanish, "es"), (english, "en")):
        plain = message.get_body(("plain",)).get_content()
        html = message.get_body(("html",)).get_content()
        for body in (plain, html):
            assert "2026-03-01 12:00:05 UTC" in body
            assert str(patient_id) in body
            assert f"/alerts/{request.alert_id}" in body
            assert "Canario" not in body
        assert f'<html lang="{language}">' in html
        assert message["Auto-Submitted"] == "auto-generated"
    deliveries = desk.deliveries()
    assert {item["status"] for item in deliveries} == {"SENT"}
    assert {f"<{item['id']}@heartguard.test>" for item in deliveries} == {m["Message-ID"] for m in desk.letters()}
    assert desk.updates() == [("QUEUED", None)] * 2 + [("SENT", None)] * 2


def test_a_delivery_leaves_audit_rows_of_every_step(desk):
    desk.notify(desk.patient("es"))
    desk.work()
    assert desk.service.audited(desk.person.org_id) == ["notification.requested", "delivery.queued", "delivery.sent"]
    (delivery,) = desk.deliveries()
    assert desk.events(delivery["id"]) == [("QUEUED", None), ("SENT", None)]


def test_the_request_id_travels_on(desk):
    desk.notify(desk.patient("es"))
    desk.work()
    traces = {event["requestid"] for event in desk.service.outbox(org_id=desk.person.org_id)}
    assert len(traces) == 1
    assert traces.pop().startswith("test-")


def test_a_request_delivered_twice_sends_once(desk):
    request = desk.request(desk.patient("es"))
    assert desk.service.deliver(request, desk.person.org_id) == [True]
    assert desk.service.deliver(request, desk.person.org_id) == [True]  # another message of the same notification
    desk.work()
    assert len(desk.letters()) == 1


def test_parallel_workers_send_each_delivery_once(desk):
    patient_id = desk.patient("es")
    for _ in range(60):
        desk.notify(patient_id)
    desk.resolve()
    together = Barrier(4)

    def work(_) -> None:
        together.wait(10)
        desk.send()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(desk.letters()) == len({message["Message-ID"] for message in desk.letters()}) == 60
    assert desk.updates().count(("SENT", None)) == 60


def test_parallel_workers_find_the_recipients_of_each_request_once(desk):
    patient_id = desk.patient("es", "en")
    for _ in range(30):
        desk.notify(patient_id)
    together = Barrier(4)

    def work(_) -> None:
        together.wait(10)
        desk.resolve()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert desk.updates() == [("QUEUED", None)] * 60


def test_the_most_urgent_goes_first(desk):
    patient_id = desk.patient("es")
    for level in ("medium", "critical", "high"):
        desk.notify(patient_id, level=level)
    desk.work()
    assert [m["Subject"].split()[2] for m in desk.letters()] == ["CRÍTICA:", "ALTA:", "MEDIA:"]


def test_the_recipients_of_the_most_urgent_are_found_first(desk):
    patient_id = desk.patient("es")
    levels = {desk.notify(patient_id, level=level).alert_id: level for level in ("low", "medium", "high", "critical")}
    desk.resolve()
    assert [levels[UUID(item["alert_id"])] for item in desk.deliveries()] == ["critical", "high", "medium", "low"]


def test_the_address_is_kept_no_longer_than_needed(desk):
    desk.notify(desk.patient("es"))
    desk.work()
    with desk.service.database.transaction(desk.person.org_id) as session:
        assert session.scalars(select(AlertDelivery.address)).all() == [None]


def test_the_log_channel_writes_one_line_without_personal_data(desk, monkeypatch):
    logger = CapturingLogger()
    monkeypatch.setattr(sending, "log", logger)
    patient_id = desk.patient("es")
    request = desk.notify(patient_id, "LOG")
    desk.work()
    (call,) = [call for call in logger.calls if call.args == ("alarm",)]
    assert (call.method_name, call.kwargs["alert_id"], call.kwargs["level"]) == (
        "warning",
        str(request.alert_id),
        "high",
    )
    assert str(patient_id) not in str(call)
    (delivery,) = desk.deliveries()
    assert (delivery["recipient"], delivery["status"]) == ("operators", "SENT")
    assert desk.letters() == []


def test_without_a_recipient_the_fallback_is_told_and_the_timeline_says_so(desk):
    desk.emails.append(f"{uuid4().hex}@guard.test")
    desk.settings = replace(desk.settings, alarm_fallback_email=desk.emails[0])
    desk.notify(desk.patient())
    desk.work()
    assert len(desk.letters()) == 1
    assert desk.updates() == [("QUEUED", "no_recipient"), ("SENT", None)]
    assert desk.deliveries()[0]["recipient"] == "fallback"


@pytest.mark.parametrize(("channel", "reason"), [("EMAIL", "no_recipient"), ("SMS", "channel_unavailable")])
def test_an_alarm_that_reaches_nobody_is_loud(desk, monkeypatch, channel, reason):
    logger = CapturingLogger()
    monkeypatch.setattr(actions, "log", logger)
    desk.notify(desk.patient(), channel)
    desk.work()
    assert desk.updates() == [("FAILED", reason)]
    assert desk.service.audited(desk.person.org_id)[-1] == "delivery.failed"
    assert [(call.method_name, call.args) for call in logger.calls] == [("error", ("delivery.failed",))]
    answer = desk.service.call("POST", f"/notifications/{desk.deliveries()[0]['id']}/retry", desk.person)
    assert (answer.status_code, answer.json["error"]["id"]) == (409, "HG-NOT-002")


def test_a_patient_of_another_organisation_has_no_recipients_here(desk, stranger):
    patient_id = desk.patient("es")
    desk.service.deliver(desk.request(patient_id), stranger.org_id)
    desk.work()
    found = desk.service.outbox("alert.delivery_update", stranger.org_id)
    assert [(event["data"]["status"], event["data"]["reason"]) for event in found] == [("FAILED", "no_recipient")]
    assert desk.letters() == []


def test_while_a_neighbour_is_away_requests_wait(desk, monkeypatch):
    patient_id = desk.patient("es")
    desk.notify(patient_id)
    with monkeypatch.context() as patch:
        patch.setitem(os.environ, "AUTH_URL", "http://127.0.0.1:9")
        desk.work()
    assert desk.deliveries() == []
    desk.let_time_pass()
    desk.work()
    assert len(desk.letters()) == 1


def test_when_a_neighbour_stays_away_the_fallback_is_told(desk, monkeypatch):
    desk.emails.append(f"{uuid4().hex}@guard.test")
    desk.settings = replace(desk.settings, alarm_fallback_email=desk.emails[0])
    desk.notify(uuid4())
    monkeypatch.setitem(os.environ, "PATIENT_URL", "http://127.0.0.1:9")
    for _ in range(6):
        assert desk.updates() == []
        desk.let_time_pass()
        desk.work()
    assert desk.updates() == [("QUEUED", "directory_away"), ("SENT", None)]
