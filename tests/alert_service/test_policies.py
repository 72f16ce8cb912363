"""Policies and catalogues: the suite's default, an organisation's own, and the words of the contract."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from tests.alert_service.alert_ward import OBSERVED

POLICY = {
    "alert_type": None,
    "channels": {"medium": [], "high": ["LOG"], "critical": ["LOG", "EMAIL"]},
    "escalation_minutes": {"medium": None, "high": None, "critical": 2},
    "hold_off_minutes": 0,
    "max_escalations": 1,
    "max_shelve_minutes": 5,
}


def create(ward, **changes):
    return ward.service.call("POST", "/alert-policies", ward.person, json=POLICY | changes)


def test_everybody_reads_the_default_and_nobody_changes_it(ward):
    (default,) = ward.service.call("GET", "/alert-policies", ward.person).json["data"]
    assert "org_id" not in default or default["org_id"] is None
    path = f"/alert-policies/{default['id']}"
    assert ward.service.call("GET", path, ward.person).status_code == 200
    assert ward.service.call("PUT", path, ward.person, json=POLICY).status_code == 404
    assert ward.service.call("DELETE", path, ward.person).status_code == 404


def test_an_organisations_policy_comes_before_the_default(ward):
    answer = create(ward)
    assert answer.status_code == 201, answer.text
    assert answer.json["data"].items() >= POLICY.items()
    ward.tell(uuid4(), level="high")
    ward.tell(uuid4(), level="high", observed_at=OBSERVED + timedelta(seconds=1))
    assert [page["channel"] for page in ward.pages()] == ["LOG", "LOG"]
    assert {alert["escalate_at"] for alert in ward.alerts()} == {None}


def test_a_types_own_policy_comes_before_the_general_one(ward):
    create(ward)
    create(ward, alert_type="DESAT", channels=POLICY["channels"] | {"high": ["SMS"]})
    ward.tell(uuid4(), event_type="DESAT", level="high")
    ward.tell(uuid4(), event_type="ARRHYTHMIA", level="high")
    assert [page["channel"] for page in ward.pages()] == ["SMS", "LOG"]


def test_without_channels_the_timeline_says_that_nobody_was_paged(ward):
    create(ward)
    ward.tell(uuid4(), level="medium")
    (paged,) = [item for item in ward.timeline(ward.alert()["id"]) if item["step"] == "paged"]
    assert paged["details"]["channels"] == ""


def test_policies_are_replaced_and_removed(ward):
    policy = create(ward).json["data"]
    path = f"/alert-policies/{policy['id']}"
    changed = ward.service.call("PUT", path, ward.person, json=POLICY | {"hold_off_minutes": 7})
    assert changed.json["data"]["hold_off_minutes"] == 7
    assert ward.service.call("DELETE", path, ward.person).status_code == 204
    assert ward.service.call("GET", path, ward.person).status_code == 404


def test_a_second_policy_for_the_same_is_a_conflict(ward):
    create(ward)
    assert create(ward).status_code == 409


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"channels": POLICY["channels"] | {"critical": []}}, "channels.critical"),
        ({"channels": POLICY["channels"] | {"high": ["PIGEON"]}}, "channels.high.0"),
        ({"hold_off_minutes": -1}, "hold_off_minutes"),
        ({"alert_type": "UNHEARD_OF"}, "type"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(ward, changes, field):
    answer = create(ward, **changes)
    assert answer.status_code == 400
    assert [item["field"] for item in answer.json["error"]["details"]] == [field]


def test_another_organisation_sees_no_policy(ward, stranger):
    policy = create(ward).json["data"]
    path = f"/alert-policies/{policy['id']}"
    assert ward.service.call("GET", path, stranger).status_code == 404
    assert ward.service.call("DELETE", path, stranger).status_code == 404
    assert len(ward.service.call("GET", "/alert-policies", stranger).json["data"]) == 1


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        ("/alert-levels", ["low", "medium", "high", "critical"]),
        ("/alert-statuses", ["created", "notified", "ack", "resolved", "closed"]),
        ("/alert-channels", ["SMS", "EMAIL", "PUSH", "WEBHOOK", "LOG"]),
        ("/risk-levels", ["low", "medium", "high"]),
    ],
)
def test_catalogues_have_the_contracts_values_in_two_languages(ward, path, codes):
    entries = ward.service.call("GET", path, ward.person).json["data"]
    assert [entry["code"] for entry in entries] == codes
    assert all(entry["label_es"] and entry["label_en"] for entry in entries)
    assert [entry["position"] for entry in entries] == list(range(1, len(codes) + 1))


def test_alert_types_have_the_contracts_levels(ward):
    entries = ward.service.call("GET", "/alert-types", ward.person).json["data"]
    levels = {entry["code"]: (entry["default_level"], entry["min_level"], entry["max_level"]) for entry in entries}
    assert levels == {
        "GENERAL_RISK": ("medium", "low", "critical"),
        "ARRHYTHMIA": ("high", "medium", "critical"),
        "DESAT": ("high", "low", "critical"),
        "HYPERTENSION": ("medium", "medium", "critical"),
        "HYPOTENSION": ("high", "medium", "critical"),
        "FEVER": ("medium", "low", "high"),
        "HYPOTHERMIA": ("high", "medium", "critical"),
        "SIGNAL_LOST": ("medium", "low", "high"),
    }
