"""The limits table: edges, hysteresis, overrides."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from inference_service.builtin import vital_limits
from inference_service.builtin.limits import ALL_LIMITS, METRICS, judge, limits_for, with_overrides
from inference_service.builtin.model import Level, PatientContext, Status
from inference_service.signals.window import Window

AT = datetime(2024, 5, 1, tzinfo=UTC)
LOW, MEDIUM, HIGH, CRITICAL = Level
EDGES = [
    ("SpO2", "", [(91, None), (90, MEDIUM), (89, MEDIUM), (88, HIGH), (86, HIGH), (85, CRITICAL)], "DESAT"),
    ("HR", "", [(110, None), (111, MEDIUM), (130, MEDIUM), (131, HIGH)], "ARRHYTHMIA"),
    ("HR", "", [(41, None), (40, HIGH)], "ARRHYTHMIA"),
    ("BP", "systolic", [(139, None), (140, LOW), (160, MEDIUM), (180, HIGH), (220, CRITICAL)], "HYPERTENSION"),
    ("BP", "diastolic", [(89, None), (90, LOW), (100, MEDIUM), (110, HIGH)], "HYPERTENSION"),
    ("BP", "systolic", [(101, None), (100, MEDIUM), (90, HIGH), (81, HIGH), (80, CRITICAL)], "HYPOTENSION"),
    ("BP", "mean", [(65, None), (64, HIGH)], "HYPOTENSION"),
    ("TEMP", "", [(38.0, None), (38.1, MEDIUM), (39.0, MEDIUM), (39.1, HIGH)], "FEVER"),
    (
        "TEMP",
        "",
        [(36.1, None), (36.0, MEDIUM), (35.1, MEDIUM), (35.0, HIGH), (32, HIGH), (31.9, CRITICAL)],
        "HYPOTHERMIA",
    ),
]


def infer(signal, value, channel="", context=PatientContext()):  # noqa: B008 - a frozen value
    unit = next(i.unit for i in vital_limits.MODEL.inputs if i.signal == signal)
    return vital_limits.infer([Window(signal, unit, 1, AT, np.array([float(value)]), channel)], context)


@pytest.mark.parametrize(
    ("signal", "channel", "value", "level", "event"),
    [(signal, channel, *edge, event) for signal, channel, edges, event in EDGES for edge in edges],
)
def test_each_limit_at_its_edge(signal, channel, value, level, event):
    found = [f for f in infer(signal, value, channel).findings if f.event_type == event]
    assert max((f.level for f in found if f.level), default=None) == level
    assert all(0 <= f.score <= 1 and 0 <= f.threshold <= 1 for f in found)


@pytest.mark.parametrize(("value", "level"), [(88, None), (87, MEDIUM), (85, HIGH), (83, CRITICAL)])
def test_scale_2_has_its_own_saturation_limits(value, level):
    (finding,) = (
        f for f in infer("SpO2", value, context=PatientContext(spo2_scale=2)).findings if f.condition == "spo2"
    )
    assert finding.level == level


def test_between_limit_and_clearing_value_an_episode_is_held():
    levels = {
        value: next(f for f in infer("SpO2", value).findings if f.event_type == "DESAT").holds for value in (92, 91, 89)
    }
    assert levels == {92: None, 91: MEDIUM, 89: HIGH}


def test_a_crisis_needs_symptoms():
    def worst(context):
        windows = [
            Window("BP", "mmHg", 1, AT, np.array([v]), c) for v, c in ((185.0, "systolic"), (121.0, "diastolic"))
        ]
        return max(f.level for f in vital_limits.infer(windows, context).findings if f.level)

    assert (worst(PatientContext()), worst(PatientContext(symptoms=True))) == (HIGH, CRITICAL)


@pytest.mark.parametrize(("signal", "value"), [("SpO2", 12), ("HR", 0), ("SpO2", float("nan")), ("HR", 400)])
def test_what_no_living_patient_has_is_a_lost_signal_and_never_normal(signal, value):
    outcome = infer(signal, value)
    (finding,) = outcome.findings
    assert (outcome.status, finding.event_type, finding.level) == (Status.ABSTAIN, "SIGNAL_LOST", HIGH)


def test_a_reading_carries_its_own_time_so_that_it_counts_once():
    pressure = Window("BP", "mmHg", 1, AT - timedelta(seconds=30), np.array([165.0]), "systolic")
    pulse = Window("HR", "/min", 1, AT, np.array([70.0]))
    found = vital_limits.infer([pressure, pulse], PatientContext(), AT + timedelta(seconds=1)).findings
    assert {f.at for f in found if f.event_type == "HYPERTENSION"} == {pressure.started_at}


def test_an_override_changes_the_named_rows_only():
    changed = with_overrides(ALL_LIMITS, [{"event_type": "DESAT", "condition": "spo2", "level": "medium", "value": 88}])
    differing = [(a, b) for a, b in zip(ALL_LIMITS, changed, strict=True) if a != b]
    assert len(differing) == 2 and all(b.value == 88 and b.level is MEDIUM for _, b in differing)


@pytest.mark.parametrize(
    "override",
    [
        {"event_type": "DESAT", "condition": "typo", "value": 88},
        {"event_type": "DESAT", "condition": "spo2", "valeu": 88},
        {"event_type": "DESAT", "condition": "spo2", "metric": "heart_rate"},
        {"event_type": "DESAT", "condition": "spo2"},
        {"event_type": "DESAT", "condition": "spo2", "value": 300},
        {"event_type": "DESAT", "condition": "spo2", "level": "low", "value": 88},
        {"event_type": "DESAT", "condition": "spo2", "persists_s": -1},
    ],
)
def test_an_override_that_would_do_nothing_or_nonsense_is_refused(override):
    with pytest.raises(ValueError, match="limit"):
        with_overrides(ALL_LIMITS, [override])


def test_a_patients_own_limit_wins_and_a_muted_row_is_gone():
    own = ({"event_type": "ARRHYTHMIA", "condition": "fast_pulse", "level": "medium", "enabled": False},)
    rows = limits_for(ALL_LIMITS, PatientContext(limits=own))
    assert [row.level for row in rows if row.condition == "fast_pulse"] == [HIGH]


def test_every_row_names_a_known_metric_and_an_unknown_value_is_left_unjudged():
    assert {row.metric for row in ALL_LIMITS} == set(METRICS)
    assert judge(ALL_LIMITS, {"spo2": float("nan")}) == ()
