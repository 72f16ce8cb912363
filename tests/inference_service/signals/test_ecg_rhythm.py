"""The ECG model: what alarms, what abstains, and what the shipped recording raises."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from inference_service.builtin import NAMES, digest, ecg_rhythm, load
from inference_service.builtin.model import Level, PatientContext, Status
from inference_service.evaluate.replay import START, ecg_replay, ecg_windows
from inference_service.signals.window import Window
from ops.recordings import read_recording
from tests.support.simulator import simulate_ecg, simulate_rr

DATA = Path(__file__).parents[2] / "data"
AT = datetime(2024, 5, 1, tzinfo=UTC)
RATE = 250.0


def window(samples, channel="II", unit="mV", rate=RATE):
    return Window("ECG", unit, rate, AT, np.asarray(samples, dtype=float), channel)


def sinus(rate=75, seed=1):
    return simulate_ecg(simulate_rr(seed, 0.5, rate), 30, seed=seed)


def paused(from_s=20.0, to_s=26.0, seed=1):
    """Sinus rhythm without the beats between two times; the pause is up to two intervals longer."""
    beats = simulate_rr(seed, 0.5, 75)
    return simulate_ecg(beats[(beats < from_s) | (beats > to_s)], 30, seed=seed)


def raised(*windows, context=PatientContext()):  # noqa: B008 - a frozen value
    outcome = ecg_rhythm.infer(windows, context)
    return {f.condition: f.level for f in outcome.findings if f.level}


def test_sinus_rhythm_raises_nothing_and_says_what_it_saw():
    outcome = ecg_rhythm.infer([window(sinus())], PatientContext())
    assert outcome.status is Status.OK and not any(f.level for f in outcome.findings)
    assert outcome.features["heart_rate"] == pytest.approx(75, abs=4)
    assert outcome.quality > 0.9 and {f.event_type for f in outcome.findings} == {"ARRHYTHMIA", "SIGNAL_LOST"}
    assert all(0 <= f.score <= 1 and 0 <= f.threshold <= 1 for f in outcome.findings)
    assert {f.event_type for f in outcome.headlines()} == {"ARRHYTHMIA", "SIGNAL_LOST"}
    assert json.loads(json.dumps([outcome.features, [f.explanation for f in outcome.findings]]))


@pytest.mark.parametrize(
    ("beats", "expected"),
    [
        (simulate_rr(1, 0.5, 34), {"bradycardia": Level.HIGH, "extreme_bradycardia": Level.CRITICAL}),
        (simulate_rr(1, 0.5, 120), {"tachycardia": Level.MEDIUM}),
        (simulate_rr(1, 0.5, 165), {"tachycardia": Level.HIGH, "extreme_tachycardia": Level.CRITICAL}),
        (simulate_rr(6, 0.5, 85, fibrillation=True), {"new_af": Level.MEDIUM}),
    ],
)
def test_rates_and_irregularity(beats, expected):
    assert raised(window(simulate_ecg(beats, 30))) == expected


def test_a_pause_of_four_seconds_is_critical_and_a_shorter_one_is_not():
    assert raised(window(paused(20, 26))).get("asystole") is Level.CRITICAL
    assert "asystole" not in raised(window(paused(20, 22.2)))


def test_a_pause_that_another_lead_does_not_show_is_no_pause():
    assert "asystole" not in raised(window(paused(), "II"), window(sinus(), "V"))
    assert "asystole" in raised(window(paused(), "II"), window(paused(), "V"))


@pytest.mark.parametrize("hidden", ["gap", "flat", "saturated", "straying"])
def test_a_pause_in_which_beats_may_hide_is_not_an_asystole(hidden):
    ecg = paused(20, 26)
    part = slice(5100, 6500)
    if hidden == "gap":
        ecg[part] = np.nan
    elif hidden == "flat":
        ecg[part] = 0.0
    elif hidden == "saturated":
        ecg[part] = 20.0
    else:
        ecg[part] += 3.0 * np.exp(-np.arange(1400) / 300)
    assert "asystole" not in raised(window(ecg))


def test_fibrillation_is_never_silenced_by_quality():
    time = np.arange(7500) / RATE
    wave = 0.5 * np.sin(2 * np.pi * (5 * time + 0.4 * np.sin(0.8 * time)))
    outcome = ecg_rhythm.infer([window(wave + np.random.default_rng(1).normal(0, 0.03, 7500))], PatientContext())
    assert outcome.status is Status.OK
    (finding,) = (f for f in outcome.findings if f.condition == "fibrillation")
    assert finding.level is Level.CRITICAL and finding.explanation["confidence"] in ("full", "poor signal")


@pytest.mark.parametrize("samples", [np.full(7500, np.nan), np.zeros(7500), np.zeros(0), np.zeros(500)])
def test_silence_is_a_technical_event_and_never_a_clinical_one(samples):
    outcome = ecg_rhythm.infer([window(samples)], PatientContext())
    assert outcome.status is Status.ABSTAIN
    assert [(f.event_type, f.level) for f in outcome.findings] == [("SIGNAL_LOST", Level.HIGH)]


def test_strong_noise_abstains():
    noise = np.random.default_rng(3).normal(0, 0.5, 7500)
    outcome = ecg_rhythm.infer([window(noise)], PatientContext())
    assert outcome.status is Status.ABSTAIN and {f.event_type for f in outcome.findings} == {"SIGNAL_LOST"}


def test_known_fibrillation_silences_new_af_and_keeps_the_rates():
    fast = window(simulate_ecg(simulate_rr(6, 0.5, 150, fibrillation=True), 30))
    assert "new_af" in raised(fast)
    known = raised(fast, context=PatientContext(known_af=True))
    assert "new_af" not in known and known["tachycardia"] is Level.HIGH


def test_with_a_pacemaker_ventricular_beats_are_not_judged():
    outcome = ecg_rhythm.infer([window(sinus())], PatientContext(pacemaker=True))
    assert not {f.condition for f in outcome.findings} & {"ventricular_ectopy", "ventricular_run"}


def test_microvolts_are_converted_and_other_units_and_rates_are_errors():
    outcome = ecg_rhythm.infer([window(sinus() * 1000, unit="uV")], PatientContext())
    assert outcome.features["heart_rate"] == pytest.approx(75, abs=4)
    assert ecg_rhythm.infer([window(sinus(), unit="%")], PatientContext()).status is Status.ERROR
    assert ecg_rhythm.infer([window(sinus()[:1500], rate=50.0)], PatientContext()).status is Status.ERROR


def replay(samples, rate, step_s=None):
    run = ecg_replay()
    for windows, end in ecg_windows(samples[:, None], ["MLII"], rate, step_s):
        run.feed(ecg_rhythm.infer(windows, PatientContext()), START + timedelta(seconds=end))
    return run.transitions


@pytest.mark.parametrize("step_s", [5, 10])
def test_the_shipped_recording_raises_one_medium_alarm_of_ventricular_ectopy(step_s):
    recording = read_recording(DATA / "mitdb_208_excerpt")
    told = replay(recording.samples, recording.sample_rate_hz, step_s)
    assert [(t.kind, t.event_type, t.level, t.finding.condition) for t in told] == [
        ("open", "ARRHYTHMIA", Level.MEDIUM, "ventricular_ectopy")
    ]


def test_a_lethal_rhythm_is_told_within_fifteen_seconds():
    random = np.random.default_rng(5)
    delays = []
    for seed in range(12):
        onset = random.uniform(40, 60)
        beats = simulate_rr(seed, 1.5, random.uniform(60, 100))
        last = beats[beats < onset].max()
        told = replay(simulate_ecg(beats[beats <= last], 90, seed=seed), RATE)
        opened = next(t for t in told if t.level is Level.CRITICAL)
        delays.append((opened.at - START).total_seconds() - last)
    assert np.percentile(delays, 95) <= 15


def test_models_are_found_by_name_and_their_code_has_a_hash():
    assert [load(name).MODEL.name for name in NAMES] == list(NAMES)
    assert len(digest()) == 64
    with pytest.raises(KeyError):
        load("os")
