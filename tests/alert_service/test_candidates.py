"""Candidates become alerts: one per episode, in any order, at any level, however many arrive at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import permutations
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.alert_service.alert_ward import OBSERVED


def test_an_episode_becomes_an_alert_and_a_page_per_channel(ward):
    ward.tell(uuid4())
    alert = ward.alert()
    assert (alert["type"], alert["level"], alert["status"], alert["source"]) == (
        "ARRHYTHMIA",
        "high",
        "created",
        "inference",
    )
    assert [page["channel"] for page in ward.pages()] == ["EMAIL", "LOG"]
    assert set(ward.pages()[0]) == {
        "notification_id",
        "alert_id",
        "patient_id",
        "level",
        "alert_type",
        "channel",
        "observed_at",
    }
    (created,) = ward.service.outbox("alert.created", ward.person.org_id)
    assert created["data"]["alert_id"] == alert["id"]
    assert ward.service.audited(ward.person.org_id)[:2] == ["alert.created", "alert.paged"]


def test_a_message_delivered_twice_has_one_effect(ward):
    effects = ward.service.deliver(ward.candidate(uuid4()), ward.person.org_id, twice=True)
    assert effects == [True, False]
    assert len(ward.pages()) == 2


def test_a_second_open_of_the_episode_changes_nothing(ward):
    episode = uuid4()
    ward.tell(episode)
    ward.tell(episode)
    assert len(ward.alerts()) == 1
    assert len(ward.pages()) == 2


def test_twenty_parallel_candidates_of_an_episode_make_one_alert(ward):
    episode = uuid4()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: ward.tell(episode), range(20)))
    assert results == [[True]] * 20
    assert len(ward.alerts()) == 1
    assert len(ward.pages()) == 2


def test_twenty_parallel_episodes_of_one_problem_page_once(ward):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ward.tell(uuid4()), range(20)))
    alerts = ward.alerts()
    assert len(alerts) == 20
    (original,) = [alert for alert in alerts if alert["duplicate_of"] is None]
    assert {alert["duplicate_of"] for alert in alerts} == {None, original["id"]}
    assert len(ward.pages()) == 2
    assert ward.steps(original["id"]).count("repeated") == 19


@pytest.mark.parametrize("column", ["episode_id", "inference_id"])
def test_the_database_itself_refuses_a_second_alert(ward, column):
    episode = uuid4()
    ward.tell(episode)
    other = {"episode_id": "inference_id", "inference_id": "episode_id"}[column]
    copy = (
        "INSERT INTO alerts (id, org_id, patient_id, type, level, status, source, observed_at, detected_at,"
        " escalations, version, inference_id, episode_id)"
        " SELECT gen_random_uuid(), org_id, patient_id, type, level, status, source, observed_at, detected_at, 0, 1,"
        f" {'inference_id' if column == 'inference_id' else 'gen_random_uuid()'},"
        f" {'episode_id' if column == 'episode_id' else 'gen_random_uuid()'} FROM alerts WHERE {other} IS NOT NULL"
    )
    with (
        pytest.raises(IntegrityError, match=column),
        ward.service.database.transaction(ward.person.org_id, technical=True) as session,
    ):
        session.execute(text(copy))


def test_escalate_raises_the_same_alert_and_pages_again(ward):
    episode = uuid4()
    ward.tell(episode, level="medium")
    ward.tell(episode, "escalate", level="critical")
    alert = ward.alert()
    assert alert["level"] == "critical"
    assert [page["level"] for page in ward.pages()] == ["medium"] * 2 + ["critical"] * 2
    assert ward.steps(alert["id"])[-1] == "level_raised"


def test_a_lower_level_never_lowers_an_alert(ward):
    episode = uuid4()
    ward.tell(episode, level="critical")
    ward.tell(episode, "escalate", level="high")
    assert ward.alert()["level"] == "critical"
    assert len(ward.pages()) == 2


@pytest.mark.parametrize(
    "order", list(permutations([("open", "medium"), ("escalate", "critical"), ("close", "critical")]))
)
def test_any_order_of_an_episodes_messages_ends_alike(ward, order):
    episode = uuid4()
    for transition, level in order:
        ward.tell(episode, transition, level=level)
    alert = ward.alert()
    assert (alert["level"], alert["status"]) == ("critical", "created")
    assert alert["episode_over_at"] is not None
    assert "critical" in {page["level"] for page in ward.pages()}
    assert ward.steps(alert["id"]).count("episode_over") == 1


def test_the_episodes_end_does_not_end_an_unacknowledged_alert(ward):
    episode = uuid4()
    ward.tell(episode)
    ward.tell(episode, "close", observed_at=OBSERVED + timedelta(minutes=3))
    alert = ward.alert()
    assert (alert["status"], alert["episode_over_at"]) == ("created", "2026-03-01T12:03:00Z")
    assert alert["escalate_at"] is not None


def test_low_is_recorded_and_nobody_is_paged(ward):
    ward.tell(uuid4(), event_type="GENERAL_RISK", level="low")
    alert = ward.alert()
    assert (alert["level"], alert["escalate_at"]) == ("low", None)
    assert ward.pages() == []


@pytest.mark.parametrize(
    ("event_type", "told", "kept"),
    [("ARRHYTHMIA", "low", "medium"), ("FEVER", "critical", "high"), ("DESAT", "low", "low")],
)
def test_a_level_is_kept_within_its_types_range(ward, event_type, told, kept):
    ward.tell(uuid4(), event_type=event_type, level=told)
    assert ward.alert()["level"] == kept


def test_a_higher_level_within_the_hold_off_is_no_duplicate(ward):
    ward.tell(uuid4(), level="medium")
    ward.tell(uuid4(), level="critical")
    newest, _ = ward.alerts()
    assert (newest["duplicate_of"], newest["status"]) == (None, "created")
    assert len(ward.pages()) == 4


def test_the_hold_off_counts_in_the_datas_time(ward):
    ward.tell(uuid4())
    ward.tell(uuid4(), observed_at=OBSERVED + timedelta(minutes=9))
    ward.tell(uuid4(), observed_at=OBSERVED + timedelta(minutes=11))
    late, within, first = ward.alerts()
    assert (late["duplicate_of"], within["duplicate_of"]) == (None, first["id"])
    assert len(ward.pages()) == 4


def test_a_resolved_alert_hides_no_other(ward):
    ward.tell(uuid4())
    first = ward.alert()
    ward.step(first["id"], "ack")
    ward.step(first["id"], "resolve")
    ward.tell(uuid4())
    assert ward.alerts()[0]["duplicate_of"] is None


def test_another_type_or_patient_is_no_duplicate(ward):
    ward.tell(uuid4())
    ward.tell(uuid4(), event_type="DESAT")
    ward.tell(uuid4(), patient_id=uuid4())
    assert len(ward.pages()) == 6


def test_a_duplicate_that_grows_worse_than_its_original_pages(ward):
    ward.tell(uuid4(), level="high")
    episode = uuid4()
    ward.tell(episode, level="medium")
    duplicate = ward.alerts()[0]
    assert (duplicate["status"], len(ward.pages())) == ("closed", 2)
    ward.tell(episode, "escalate", level="high")
    assert len(ward.pages()) == 2
    ward.tell(episode, "escalate", level="critical")
    assert ward.alerts()[0]["status"] == "created"
    assert [page["level"] for page in ward.pages()][2:] == ["critical", "critical"]


def test_stale_candidates_page_nobody_until_the_data_are_live(ward):
    episode = uuid4()
    ward.tell(episode, stale=True)
    assert ward.alert()["paged_at"] is None
    assert ward.pages() == []
    ward.tell(episode, stale=False)
    ward.tell(episode, stale=False)
    assert ward.alert()["paged_at"] is not None
    assert len(ward.pages()) == 2


def test_a_stale_alert_hides_no_live_one(ward):
    ward.tell(uuid4(), stale=True)
    ward.tell(uuid4(), stale=False)
    assert ward.alerts()[0]["duplicate_of"] is None
    assert len(ward.pages()) == 2


def test_a_worse_episode_needs_a_new_acknowledgement(ward):
    episode = uuid4()
    ward.tell(episode, level="medium")
    alert = ward.alert()
    ward.step(alert["id"], "ack")
    ward.tell(episode, "escalate", level="critical")
    alert = ward.alert()
    assert (alert["status"], alert["escalate_at"] is not None) == ("created", True)
    assert ward.step(alert["id"], "ack").status_code == 200


def test_an_unknown_event_type_is_not_swallowed(ward):
    with pytest.raises(Exception, match="HG-VAL-001"):
        ward.tell(uuid4(), event_type="UNHEARD_OF")
    assert ward.alerts() == []
