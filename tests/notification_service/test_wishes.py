"""How people want to be told, and that no wish delays or loses what is urgent: with real neighbours."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import select

from notification_service import recipients
from notification_service.models import AlertDelivery
from tests.notification_service.workers import wait_until
from tests.support.services import event_like


def quiet_now() -> dict[str, str]:
    """Quiet hours from an hour ago until in an hour."""
    now = datetime.now(UTC)
    clocks = [(now + timedelta(hours=by)).strftime("%H:%M") for by in (-1, 1)]
    return {"timezone": "UTC", "quiet_from": clocks[0], "quiet_until": clocks[1]}


def rows(desk) -> list[AlertDelivery]:
    with desk.service.database.transaction(desk.person.org_id) as session:
        return list(session.scalars(select(AlertDelivery).order_by(AlertDelivery.id)))


def test_what_is_not_urgent_waits_for_the_end_of_quiet_hours(desk):
    patient_id = desk.patient("es", "es")
    sleeper, awake = desk.people
    wish = quiet_now()
    desk.wish(sleeper, **wish)
    alert_id = desk.raise_alert(patient_id)
    desk.notify(patient_id, level="medium", alert_id=alert_id)
    desk.work()
    assert [letter["X-Envelope-To"] for letter in desk.letters()] == [desk.emails[1]]
    (waiting,) = [row for row in rows(desk) if row.user_id == sleeper.user_id]
    assert (waiting.status, waiting.reason, waiting.failures) == ("QUEUED", "quiet_hours", 0)
    assert waiting.next_attempt_at.strftime("%H:%M:%S.%f") == f"{wish['quiet_until']}:00.000000"
    assert desk.events(str(waiting.id)) == [("QUEUED", "quiet_hours")]
    desk.let_time_pass()
    desk.work()
    assert sorted(letter["X-Envelope-To"] for letter in desk.letters()) == sorted(desk.emails)
    assert desk.events(str(waiting.id)) == [("QUEUED", "quiet_hours"), ("SENT", None)]
    desk.work()
    assert len(desk.letters()) == 2


@pytest.mark.parametrize("level", ["high", "critical"])
def test_nothing_delays_what_is_urgent(desk, level):
    patient_id = desk.patient("es")
    desk.wish(desk.people[0], **quiet_now())
    desk.notify(patient_id, level=level)
    desk.work()
    assert len(desk.letters()) == 1
    assert desk.updates() == [("QUEUED", None), ("SENT", None)]


def test_the_organisations_quiet_hours_hold_for_its_people(desk):
    patient_id = desk.patient("es", "es")
    owl = desk.people[1]
    desk.wish(owl, quiet_from="12:00", quiet_until="12:00")  # none, not even the organisation's
    rules = event_like(
        "organization.rules_changed",
        "organization.topic",
        second_factor_required=False,
        settings_version=1,
        **quiet_now(),
    )
    assert desk.users.deliver(rules, desk.person.org_id) == [True]
    desk.notify(patient_id, level="medium")
    desk.work()
    assert [letter["X-Envelope-To"] for letter in desk.letters()] == [desk.emails[1]]
    assert sorted(row.reason or "" for row in rows(desk)) == ["", "quiet_hours"]


@pytest.mark.parametrize(("steps", "told"), [(("ack",), True), (("ack", "resolve"), False)])
def test_an_alert_that_is_over_when_quiet_hours_end_is_told_no_more(desk, steps, told):
    patient_id = desk.patient("es")
    desk.wish(desk.people[0], **quiet_now())
    alert_id = desk.raise_alert(patient_id)
    desk.notify(patient_id, level="medium", alert_id=alert_id)
    desk.work()
    desk.step(alert_id, *steps)
    desk.let_time_pass()
    desk.work()
    assert len(desk.letters()) == told
    last = ("SENT", None) if told else ("CANCELLED", "alert_over")
    assert desk.updates() == [("QUEUED", "quiet_hours"), last]
    (row,) = rows(desk)
    assert desk.events(str(row.id)) == [("QUEUED", "quiet_hours"), last]
    assert row.address is None
    assert ("delivery.sent" if told else "delivery.cancelled") in desk.service.audited(desk.person.org_id)
    retried = desk.service.call("POST", f"/notifications/{row.id}/retry", desk.person)
    assert (retried.status_code, retried.json["error"]["id"]) == (409, "HG-NOT-001")
    update = desk.service.outbox("alert.delivery_update", desk.person.org_id)[-1]["data"]
    event = event_like("alert.delivery_update", "notification.topic", **update)
    assert desk.alerts.deliver(event, desk.person.org_id) == [True]
    timeline = desk.alerts.call("GET", f"/alerts/{alert_id}/timeline", desk.person).json["data"]
    assert f"delivery_{last[0].lower()}" in [step["step"] for step in timeline]


def test_without_an_answer_about_the_alert_it_is_told(desk, monkeypatch):
    patient_id = desk.patient("es", "es")
    for person in desk.people:
        desk.wish(person, **quiet_now())
    desk.notify(patient_id, level="medium")
    desk.work()
    assert desk.letters() == []
    desk.let_time_pass()
    monkeypatch.setenv("ALERT_URL", "http://127.0.0.1:1")
    desk.work()
    assert len(desk.letters()) == 2


def test_without_an_answer_about_wishes_all_are_told_at_once(desk, monkeypatch):
    patient_id = desk.patient("en")
    desk.wish(desk.people[0], language="es", channels=["SMS"], **quiet_now())
    monkeypatch.setenv("USER_URL", "http://127.0.0.1:1")
    for level in ("medium", "critical"):
        desk.notify(patient_id, level=level)
    desk.work()
    assert sorted(letter["Subject"].split()[1] for letter in desk.letters()) == ["CRITICAL", "MEDIUM"]


def test_at_the_end_of_a_night_one_letter_tells_of_an_alert(desk):
    patient_id = desk.patient("es")
    desk.wish(desk.people[0], **quiet_now())
    alert_id, other_id = desk.raise_alert(patient_id), desk.raise_alert(patient_id)
    for told in (alert_id, other_id, alert_id, alert_id):
        desk.notify(patient_id, level="medium", alert_id=told)
        desk.work()
    assert [row.status for row in rows(desk)] == ["CANCELLED", "QUEUED", "CANCELLED", "QUEUED"]
    assert ("CANCELLED", "superseded") in desk.updates()
    desk.let_time_pass()
    desk.work()
    assert len(desk.letters()) == 2


def test_an_alert_that_gets_worse_is_told_at_once_and_once(desk):
    patient_id = desk.patient("es")
    desk.wish(desk.people[0], **quiet_now())
    alert_id = desk.raise_alert(patient_id)
    desk.notify(patient_id, level="medium", alert_id=alert_id)
    desk.work()
    assert desk.letters() == []
    desk.notify(patient_id, level="critical", alert_id=alert_id)
    desk.work()
    desk.let_time_pass()
    desk.work()
    assert [letter["Subject"].split()[2] for letter in desk.letters()] == ["CRÍTICA:"]


def test_parallel_requests_of_one_alert_leave_one_letter_waiting(desk, monkeypatch):
    written = recipients.write_change

    def write_and_linger(*arguments, **facts) -> None:
        written(*arguments, **facts)
        time.sleep(0.5)  # the other worker is at the same place by now, unless it waits for this transaction

    monkeypatch.setattr(recipients, "write_change", write_and_linger)
    monkeypatch.setattr(recipients, "BATCH", 1)
    patient_id = desk.patient("es")
    desk.wish(desk.people[0], **quiet_now())
    alert_id = desk.raise_alert(patient_id)
    for _ in range(2):
        desk.notify(patient_id, level="medium", alert_id=alert_id)
    together = Barrier(2)

    def work(_) -> None:
        together.wait(10)
        desk.resolve()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert sorted(row.status for row in rows(desk)) == ["CANCELLED", "QUEUED"]


# --- channels and languages ----------------------------------------------------------------------------------------


def test_a_letter_goes_to_those_who_want_letters_in_their_language(desk):
    patient_id = desk.patient("es", "es", "en")
    desk.wish(desk.people[0], language="en", channels=["EMAIL"])
    desk.wish(desk.people[1], channels=["PUSH"])
    desk.wish(desk.people[2], quiet_from=None)  # names no language: the account's
    desk.notify(patient_id, level="medium")
    desk.work()
    told = {letter["X-Envelope-To"]: letter["Subject"] for letter in desk.letters()}
    assert told == {desk.emails[place]: "[HeartGuard] MEDIUM alarm: arrhythmia" for place in (0, 2)}


@pytest.mark.parametrize("level", ["high", "critical"])
def test_a_choice_that_reaches_nobody_yet_is_overridden_for_what_is_urgent(desk, level):
    patient_id = desk.patient("es")
    desk.wish(desk.people[0], channels=["SMS", "PUSH"])
    desk.notify(patient_id, level=level)
    desk.work()
    assert len(desk.letters()) == 1


def test_when_nobody_wants_letters_that_is_loud(desk):
    patient_id = desk.patient("es")
    desk.wish(desk.people[0], channels=["PUSH"])
    desk.notify(patient_id, level="medium")
    desk.work()
    assert desk.letters() == []
    assert desk.updates() == [("FAILED", "channel_not_chosen")]


# --- through the broker --------------------------------------------------------------------------------------------


def test_a_night_through_the_broker(desk, worker):
    """The alert service pages, the letter waits, one alert is resolved meanwhile: workers and RabbitMQ do the rest."""
    patient_id = desk.patient("es")
    desk.wish(desk.people[0], **quiet_now())
    over_id, open_id = desk.raise_alert(patient_id), desk.raise_alert(patient_id)
    urgent_id = desk.raise_alert(patient_id, "critical")
    worker("alert")
    worker("notification")

    def steps(alert_id) -> list[tuple[str, str]]:
        timeline = desk.alerts.call("GET", f"/alerts/{alert_id}/timeline", desk.person).json["data"]
        return [
            (step["step"], step["details"].get("reason", ""))
            for step in timeline
            if step["step"].startswith("delivery") and step["details"]["channel"] == "EMAIL"
        ]

    waiting = [("delivery_queued", "quiet_hours")]
    wait_until(lambda: steps(over_id) == steps(open_id) == waiting)
    wait_until(lambda: ("delivery_sent", "") in steps(urgent_id))
    assert len(desk.letters()) == 1
    desk.step(over_id, "ack", "resolve", "close")
    desk.let_time_pass()
    wait_until(lambda: steps(over_id) == [*waiting, ("delivery_cancelled", "alert_over")])
    wait_until(lambda: steps(open_id) == [*waiting, ("delivery_sent", "")])
    assert len(desk.letters()) == 2
