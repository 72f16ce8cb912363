"""Detectors on signals whose truth is known: synthetic beats, noise, sines, and edges of definition."""

import numpy as np
import pytest

from inference_service.evaluate.scoring import score_beats
from inference_service.signals import beats, fibrillation, quality, rhythm, rpeaks
from tests.support.simulator import simulate_ecg, simulate_rr

RATE = 250.0


def noise(seconds=30.0, millivolts=0.02, seed=1):
    return np.random.default_rng(seed).normal(0, millivolts, round(seconds * RATE))


@pytest.mark.parametrize("rate", [35, 60, 100, 150, 190])
@pytest.mark.parametrize("sample_rate", [125.0, 250.0, 500.0])
def test_r_peaks_are_found_where_they_are_at_any_heart_and_sample_rate(rate, sample_rate):
    times = simulate_rr(rate, 1, rate)
    found = rpeaks.detect_r_peaks(simulate_ecg(times, 60, sample_rate), sample_rate) / sample_rate
    tally = score_beats(times, found)
    assert tally.beats_extra == 0 and tally.beats_missed <= 1  # the first one or the last one, cut off
    assert np.abs(found[1:-1, None] - times).min(axis=1).max() <= 0.02


@pytest.mark.parametrize("millivolts", [0.1, 0.3, 3.0])
def test_amplitude_does_not_matter(millivolts):
    times = simulate_rr(3, 0.5, 75)
    found = rpeaks.detect_r_peaks(simulate_ecg(times, 30) * millivolts, RATE) / RATE
    tally = score_beats(times, found)
    assert (tally.beats_missed, tally.beats_extra) == (0, 0) if millivolts > 0.1 else tally.beats_extra == 0


def test_a_flat_line_and_quiet_noise_have_no_beats():
    assert len(rpeaks.detect_r_peaks(np.zeros(7500), RATE)) == 0
    assert len(rpeaks.detect_r_peaks(noise(millivolts=0.01), RATE)) == 0
    assert len(rpeaks.detect_r_peaks(np.zeros(100), RATE)) == 0


def test_beats_do_not_get_lost_between_windows():
    times = simulate_rr(5, 5, 80)
    found = rpeaks.detect_sliding(simulate_ecg(times, 300), RATE) / RATE
    tally = score_beats(times, found)
    assert tally.beats_missed <= 1 and tally.beats_extra == 0


@pytest.mark.parametrize("length", [100, 2500, 7500, 7501, 20000])
def test_trusted_spans_cover_a_recording_once(length):
    spans = [(a, b) for _, _, a, b in rpeaks.sliding(length, RATE)]
    assert spans[0][0] == 0 and spans[-1][1] == length
    assert all(left[1] == right[0] for left, right in zip(spans, spans[1:], strict=False))


def test_wide_early_other_shaped_beats_are_ventricular_and_runs_are_counted():
    normal = np.arange(0.5, 29, 0.8)
    early = normal[5:-6:6] + 0.45
    ecg = simulate_ecg(np.delete(normal, np.arange(6, len(normal) - 5, 6)), 30)
    time = np.arange(len(ecg)) / RATE
    for at in early:
        ecg += 1.6 * np.exp(-0.5 * ((time - at) / 0.045) ** 2) - 0.7 * np.exp(-0.5 * ((time - at - 0.25) / 0.07) ** 2)
    found = beats.describe_beats(ecg, RATE, rpeaks.detect_r_peaks(ecg, RATE))
    flagged = found.peaks[found.ventricular] / RATE
    tally = score_beats(early, flagged)
    assert (tally.beats_missed, tally.beats_extra) == (0, 0)
    assert rhythm.longest_fast_run(np.arange(6) * 0.5, np.array([0, 1, 1, 1, 0, 1], dtype=bool), 100) == 3
    assert rhythm.longest_fast_run(np.arange(6) * 0.7, np.ones(6, dtype=bool), 100) == 1


def test_cosen_tells_fibrillation_from_sinus_rhythm_and_extra_beats_do_not_look_like_it():
    def value(times, dropped=None):
        return rhythm.irregularity(
            rhythm.sinus_intervals(times, np.zeros(len(times), bool) if dropped is None else dropped)
        )

    sinus, fibrillating = simulate_rr(1, 0.5, 75), simulate_rr(2, 0.5, 90, fibrillation=True)
    assert value(sinus) < -1.8 < -1.0 < value(fibrillating)
    extra = np.sort(np.concatenate((sinus, sinus[5::8] + 0.45)))
    assert value(extra, np.isin(extra, sinus[5::8] + 0.45)) < -1.4
    assert np.isnan(value(sinus[:12]))


def test_cosen_agrees_with_its_definition_written_as_loops():
    rr = np.diff(simulate_rr(7, 0.5, 80, fibrillation=True))
    pairs = [(i, j) for i in range(len(rr) - 1) for j in range(i + 1, len(rr) - 1)]
    reach = sorted(max(abs(rr[i] - rr[j]), abs(rr[i + 1] - rr[j + 1])) for i, j in pairs)
    tolerance = max(0.03, reach[4])
    matches = sum(abs(rr[i] - rr[j]) <= tolerance for i, j in pairs)
    longer = sum(value <= tolerance for value in reach)
    expected = -np.log(longer / matches) + np.log(2 * tolerance) - np.log(rr.mean())
    assert rhythm.cosen(rr) == pytest.approx(expected)


def test_runs_and_pauses_at_their_edges():
    beat = np.arange(0, 10.1, 0.5)
    assert rhythm.fastest_run(beat, 17, 0) == pytest.approx(120)
    assert rhythm.slowest_run(beat, 5, 0) == pytest.approx(120)
    assert rhythm.fastest_run(beat[:16], 17, 0) == 0 and np.isnan(rhythm.slowest_run(beat[:4], 5, 0))
    assert rhythm.longest_pause(np.array([2.0, 6.5]), (1.0, 10.0), 0) == 4.5
    assert rhythm.longest_pause(np.empty(0), (1.0, 10.0), 0) == 9.0
    assert rhythm.longest_pause(np.array([2.0, 6.5, 9.0]), (1.0, 10.0), 7) == 2.5
    assert rhythm.heart_rate(np.array([0.0, 1.0, 2.0])) == 60 and np.isnan(rhythm.heart_rate(np.array([0.0, 1.0])))


def test_a_beat_seen_in_two_leads_counts_once():
    assert rhythm.pool([np.array([1.0, 2.0]), np.array([1.04, 3.0])]).tolist() == [1.0, 2.0, 3.0]


def test_fibrillation_is_a_sine_of_changing_period_and_no_beats_or_noise_are():
    time = np.arange(round(30 * RATE)) / RATE
    wave = np.sin(2 * np.pi * (4.5 * time + 0.3 * np.sin(time))) * (0.6 + 0.2 * np.sin(0.9 * time))
    assert fibrillation.longest_s(wave + noise(), RATE, 16) >= 4
    assert fibrillation.longest_s(simulate_ecg(simulate_rr(4, 0.5, 160), 30), RATE, 16) == 0
    assert fibrillation.longest_s(noise(millivolts=0.3), RATE, 16) == 0
    assert fibrillation.longest_s(0.05 * wave, RATE, 16) == 0
    begins_late = np.where(time < 25, 0, wave)
    assert fibrillation.longest_s(begins_late + noise(), RATE, 16) >= 4
    assert fibrillation.longest_s(np.where(time < 9, wave, 0) + noise(), RATE, 16) == 0


def test_missing_flat_and_out_of_range_samples_are_not_usable():
    ecg = simulate_ecg(simulate_rr(1, 0.5), 30)
    ecg[:250] = np.nan
    ecg[1000:1500] = 0.3
    ecg[3000:3100] = 40.0
    usable = quality.usable_samples(ecg, RATE)
    bad = np.r_[0:250, 1001:1500, 3000:3100]
    assert not usable[bad].any()
    assert (~usable).sum() <= len(bad) + 2


def test_two_detectors_agree_on_beats_and_not_on_noise():
    clean = simulate_ecg(simulate_rr(1, 0.5), 30)
    agreed = []
    for ecg in (clean, noise(millivolts=0.5)):
        found = rpeaks.detect(ecg, RATE)
        agreed.append(quality.agreement(found.peaks, quality.second_detector(found.filtered, RATE), RATE))
    assert agreed[0] >= 0.98 > 0.95 >= agreed[1]
    assert quality.agreement(np.empty(0, int), np.empty(0, int), RATE) == 1
    assert quality.agreement(np.array([5]), np.empty(0, int), RATE) == 0
