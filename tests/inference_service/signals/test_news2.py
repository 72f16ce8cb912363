"""NEWS2: every edge of every band of the chart, the partial score, and the model around it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from inference_service.builtin import news2
from inference_service.builtin.model import Level, Observed, PatientContext, Status
from inference_service.signals.news2 import score_news2
from inference_service.signals.window import Window

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)

EDGES = {
    "respiration": [(0, 3), (8, 3), (9, 1), (11, 1), (12, 0), (20, 0), (21, 2), (24, 2), (25, 3), (60, 3)],
    "spo2": [(0, 3), (91, 3), (92, 2), (93, 2), (94, 1), (95, 1), (96, 0), (100, 0)],
    "systolic": [(0, 3), (90, 3), (91, 2), (100, 2), (101, 1), (110, 1), (111, 0), (219, 0), (220, 3), (300, 3)],
    "pulse": [
        *[
            (0, 3),
            (40, 3),
            (41, 1),
            (50, 1),
            (51, 0),
            (90, 0),
            (91, 1),
            (110, 1),
            (111, 2),
            (130, 2),
            (131, 3),
            (250, 3),
        ]
    ],
    "temperature": [
        *[(25.0, 3), (35.0, 3), (35.1, 1), (36.0, 1), (36.1, 0), (38.0, 0), (38.1, 1), (39.0, 1), (39.1, 2), (42.0, 2)]
    ],
    "consciousness": [("A", 0), ("C", 3), ("V", 3), ("P", 3), ("U", 3)],
    "oxygen": [(False, 0), (True, 2)],
}
SCALE_2 = {
    False: [(83, 3), (84, 2), (85, 2), (86, 1), (87, 1), (88, 0), (92, 0), (93, 0), (95, 0), (97, 0), (100, 0)],
    True: [(83, 3), (84, 2), (85, 2), (86, 1), (87, 1), (88, 0), (92, 0), (93, 1), (94, 1), (95, 2), (96, 2), (97, 3)],
}


@pytest.mark.parametrize(
    ("name", "value", "points"), [(name, *edge) for name, edges in EDGES.items() for edge in edges]
)
def test_each_band_edge(name, value, points):
    assert score_news2(**{name: value}).parts == {name: points}


@pytest.mark.parametrize(
    ("oxygen", "value", "points"), [(oxygen, *edge) for oxygen, edges in SCALE_2.items() for edge in edges]
)
def test_each_band_edge_of_scale_2(oxygen, value, points):
    assert score_news2(spo2=value, oxygen=oxygen, spo2_scale=2).parts["spo2"] == points


@pytest.mark.parametrize(
    ("name", "value", "points"),
    [
        ("temperature", 35.05, 1),
        ("temperature", 38.04, 0),
        ("temperature", 38.05, 1),
        ("pulse", 90.5, 1),
        ("spo2", 91.4, 3),
    ],
)
def test_a_reading_is_rounded_half_up_as_the_chart_is(name, value, points):
    assert score_news2(**{name: value}).parts[name] == points


def test_on_scale_2_without_knowing_the_oxygen_a_high_saturation_cannot_be_scored():
    assert "spo2" in score_news2(spo2=95, spo2_scale=2).missing
    assert score_news2(spo2=90, spo2_scale=2).parts == {"spo2": 0}


def test_a_missing_parameter_makes_the_score_partial_and_adds_nothing():
    score = score_news2(respiration=22, spo2=93, systolic=105, pulse=95, temperature=38.5)
    assert (score.total, score.partial, score.missing) == (7, True, ("oxygen", "consciousness"))


@pytest.mark.parametrize("wrong", [{"pulse": -1}, {"pulse": float("nan")}, {"consciousness": "X"}, {"spo2_scale": 3}])
def test_what_cannot_be_a_reading_is_refused(wrong):
    with pytest.raises(ValueError, match="reading|consciousness|scale"):
        score_news2(**wrong)


def reading(signal, value, age_s=0.0):
    unit = next(i.unit for i in news2.MODEL.inputs if i.signal == signal)
    channel = "systolic" if signal == "BP" else ""
    return Window(signal, unit, 1, AT - timedelta(seconds=age_s + 1), np.array([float(value)]), channel)


def vitals(age_s=0.0, **changed):
    values = {"RESP": 16, "SpO2": 97, "BP": 120, "HR": 70, "TEMP": 37.0} | changed
    return [reading(signal, value, age_s) for signal, value in values.items() if value is not None]


KNOWN = PatientContext(age_years=70, on_oxygen=Observed(False, AT), consciousness=Observed("A", AT))


@pytest.mark.parametrize(
    ("changed", "total", "level"),
    [
        ({}, 0, None),
        ({"HR": 95}, 1, Level.LOW),
        ({"RESP": 25}, 3, Level.MEDIUM),
        ({"HR": 95, "RESP": 22, "TEMP": 38.5}, 4, Level.LOW),
        ({"HR": 115, "RESP": 22, "TEMP": 38.5}, 5, Level.HIGH),
        ({"HR": 131, "RESP": 25, "TEMP": 38.5}, 7, Level.CRITICAL),
    ],
)
def test_the_response_to_a_score(changed, total, level):
    outcome = news2.infer(vitals(**changed), KNOWN, AT)
    (finding,) = outcome.findings
    assert (outcome.status, outcome.features["score"], finding.level) == (Status.OK, total, level)
    assert (finding.score >= finding.threshold) is (level is not None)


def test_a_partial_score_that_is_high_enough_alarms_although_values_are_missing():
    outcome = news2.infer(vitals(HR=131, RESP=25, TEMP=38.5, BP=None), PatientContext(), AT)
    assert outcome.features["partial"] and outcome.findings[0].level is Level.CRITICAL


def test_a_low_score_with_a_vital_sign_missing_is_an_abstention_not_a_reassurance():
    outcome = news2.infer(vitals(BP=None), KNOWN, AT)
    assert (outcome.status, outcome.findings) == (Status.ABSTAIN, ())
    assert "systolic" in outcome.reason


def test_an_input_older_than_its_maximum_age_is_missing():
    assert news2.infer([*vitals(RESP=None), reading("RESP", 16, 3590)], KNOWN, AT).status is Status.OK
    assert news2.infer([*vitals(RESP=None), reading("RESP", 16, 3610)], KNOWN, AT).status is Status.ABSTAIN


def test_a_stale_consciousness_no_longer_raises_the_score_but_still_holds_the_episode():
    confused = PatientContext(on_oxygen=Observed(False, AT), consciousness=Observed("V", AT - timedelta(hours=13)))
    (finding,) = news2.infer(vitals(), confused, AT).findings
    assert (finding.level, finding.holds) == (None, Level.MEDIUM)


@pytest.mark.parametrize("context", [PatientContext(age_years=15.9), PatientContext(pregnant=True)])
def test_it_is_not_for_children_or_in_pregnancy(context):
    assert news2.infer(vitals(HR=131), context, AT).status is Status.ABSTAIN


def test_fahrenheit_is_converted_and_an_unknown_unit_is_an_error():
    fever = Window("TEMP", "degF", 1, AT, np.array([102.4]))
    assert (
        news2.infer([*vitals(TEMP=None), fever], KNOWN, AT + timedelta(seconds=1)).features["parts"]["temperature"] == 2
    )
    assert news2.infer([Window("TEMP", "K", 1, AT, np.array([310.0]))], KNOWN).status is Status.ERROR
