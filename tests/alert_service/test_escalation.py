"""What the clock does: an alert that nobody acknowledges pages again, once per step, whoever works."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from alert_service.tasks import escalate_overdue


def minutes_until(moment: str) -> int:
    return round((datetime.fromisoformat(moment) - datetime.now(UTC)) / timedelta(minutes=1))


def escalate(ward) -> None:
    while escalate_overdue(ward.service.database):
        pass


def test_an_unacknowledged_alert_pages_again_until_the_policys_steps_are_used(ward):
    ward.tell(uuid4(), level="critical")
    alert = ward.alert()
    assert minutes_until(alert["escalate_at"]) == 5
    for step in (1, 2, 3):
        ward.set_due(alert["id"])
        escalate(ward)
        alert = ward.alert()
        assert (alert["escalations"], len(ward.pages())) == (step, 2 + 2 * step)
    assert alert["escalate_at"] is None
    assert ward.steps(alert["id"]).count("escalated") == 3
    assert ward.service.audited(ward.person.org_id).count("alert.escalated") == 3


def test_many_workers_escalate_each_step_once(ward):
    for _ in range(5):
        ward.tell(uuid4(), patient_id=uuid4())
    alerts = ward.service.call("GET", "/alerts", ward.person).json["data"]
    for alert in alerts:
        ward.set_due(alert["id"])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: escalate(ward), range(4)))
    assert len(alerts) == 5
    assert len(ward.pages()) == 20
    for alert in ward.service.call("GET", "/alerts", ward.person).json["data"]:
        assert alert["escalations"] == 1
        assert ward.steps(alert["id"]).count("escalated") == 1


def test_an_acknowledged_alert_escalates_no_more(ward):
    ward.tell(uuid4())
    alert = ward.alert()
    ward.step(alert["id"], "ack")
    assert ward.alert()["escalate_at"] is None


def test_a_notified_alert_still_escalates(ward):
    ward.tell(uuid4())
    alert = ward.alert()
    ward.delivery(alert["id"], "SENT", datetime.now(UTC))
    ward.set_due(alert["id"])
    escalate(ward)
    assert ward.alert()["escalations"] == 1


def test_shelving_silences_the_alert_and_others_like_it_until_it_ends(ward):
    ward.tell(uuid4())
    alert = ward.alert()
    answer = ward.step(alert["id"], "shelve", {"minutes": 30, "note": "Cambio de electrodos"})
    assert minutes_until(answer.json["data"]["shelved_until"]) == 30
    ward.tell(uuid4(), observed_at=datetime.now(UTC))
    assert len(ward.pages()) == 2
    ward.set_due(alert["id"])
    escalate(ward)
    alert = next(item for item in ward.alerts() if item["id"] == alert["id"])
    assert (alert["shelved_until"], alert["escalations"]) == (None, 0)
    assert len(ward.pages()) == 4
    assert minutes_until(alert["escalate_at"]) == 10


def test_a_higher_level_breaks_through_shelving(ward):
    ward.tell(uuid4(), level="high")
    ward.step(ward.alert()["id"], "shelve", {"minutes": 30, "note": "Cambio de electrodos"})
    ward.tell(uuid4(), level="critical")
    assert [page["level"] for page in ward.pages()][2:] == ["critical", "critical"]


def test_after_an_episode_is_over_the_end_of_shelving_pages_nobody(ward):
    episode = uuid4()
    ward.tell(episode)
    alert = ward.alert()
    ward.step(alert["id"], "shelve", {"minutes": 30, "note": "Cambio de electrodos"})
    ward.tell(episode, "close")
    ward.set_due(alert["id"])
    escalate(ward)
    assert ward.steps(alert["id"])[-1] == "shelving_ended"
    assert len(ward.pages()) == 2


def test_shelving_is_bounded_by_the_policy(ward):
    ward.tell(uuid4())
    answer = ward.step(ward.alert()["id"], "shelve", {"minutes": 241, "note": "Siesta"})
    assert (answer.status_code, answer.json["error"]["id"]) == (400, "HG-ALR-004")
