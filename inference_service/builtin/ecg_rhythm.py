"""Built-in model `ecg_rhythm`: R peaks, quality, rate, pauses, irregularity, ventricular beats and fibrillation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from inference_service.builtin.limits import ECG_LIMITS, SIGNAL_LIMITS, judge, judge_signal, limits_for
from inference_service.builtin.model import Input, Model, Outcome, PatientContext, Status
from inference_service.signals import beats, fibrillation, quality, rhythm, rpeaks
from inference_service.signals.window import Window

MODEL = Model(
    name="ecg_rhythm",
    version="1.0.0",
    entry_point="inference_service.builtin.ecg_rhythm:infer",
    inputs=(Input("ECG", "mV", 100, 1000, max_age_s=0),),
    window_s=30,
    step_s=5,
    guard_s=1,
    min_quality=0.6,
    events=("ARRHYTHMIA", "SIGNAL_LOST"),
    limits=(*ECG_LIMITS, *(row for row in SIGNAL_LIMITS if row.condition == "ECG")),
)
JUDGED_IN_NOISE = ("asystole", "fibrillation")  # their own evidence is a trace without beats
MIN_WINDOW_S = 10.0
SAME_QUALITY = 0.1  # leads that much worse than the best one have no say
RECENT_S = 16.0  # what a lethal rhythm is looked for in: long enough to be seen by three windows


@dataclass(frozen=True)
class Lead:
    """One analysed channel; times in seconds from the start of the window.

    `unclear_s` are times at which a beat may hide: noise as strong as a beat, lost signal, a straying baseline.
    """

    channel: str
    quality: quality.Quality
    beats: beats.Beats
    peaks_s: np.ndarray
    unclear_s: np.ndarray
    fibrillation_s: float


def infer(windows: Sequence[Window], context: PatientContext, at: datetime | None = None) -> Outcome:
    """Judge the leads of one ECG window (same start, same length). `at` is the window's end and is not needed."""
    windows = [window for window in windows if window.signal == "ECG"]
    limits = limits_for(MODEL.limits, context)
    longest = max((len(w.samples) / w.sample_rate_hz for w in windows), default=0.0)
    if longest < MIN_WINDOW_S or not any(np.isfinite(w.samples).any() for w in windows):
        lost = judge_signal(limits, "ECG", 0.0)
        return Outcome(Status.ABSTAIN, lost, quality=0.0, reason="too few samples")
    try:
        leads = [_analyse(window) for window in windows]
    except ValueError as problem:
        return Outcome(Status.ERROR, reason=str(problem))
    best = max(leads, key=lambda lead: lead.quality.index)
    good = best.quality.index >= MODEL.min_quality
    trusted = [lead for lead in leads if lead.quality.index >= best.quality.index - SAME_QUALITY]
    metrics = _metrics(best, trusted, longest, context)
    features = _features(best, leads, metrics)
    silenced = {"new_af"} if context.known_af else set()
    confidence = "full" if good else "poor signal"
    findings = judge(
        [row for row in limits if row.event_type == "ARRHYTHMIA" and row.condition not in silenced],
        metrics,
        quality=round(best.quality.index, 3),
        confidence=confidence,
        heart_rate=features["heart_rate"],
        cosen=features["cosen"],
        channels=[lead.channel for lead in trusted],
        model=f"{MODEL.name} {MODEL.version}",
    )
    if not good:  # a lethal rhythm can look like a poor signal: it stays, with its confidence
        findings = tuple(f for f in findings if f.condition in JUDGED_IN_NOISE and f.level)
    lost = judge_signal(limits, "ECG", 1.0 if findings and not good else best.quality.index)
    if findings or good:
        return Outcome(Status.OK, findings + lost, features, round(best.quality.index, 4))
    return Outcome(Status.ABSTAIN, lost, features, round(best.quality.index, 4), "poor signal")


def _analyse(window: Window) -> Lead:
    own = MODEL.inputs[0]
    rate = window.sample_rate_hz
    if not own.min_rate_hz <= rate <= own.max_rate_hz:
        raise ValueError(f"ECG at {rate:g} Hz, expected {own.min_rate_hz:g} to {own.max_rate_hz:g}")
    raw = np.asarray(window.to_unit(own.unit).samples, dtype=float)
    usable = quality.usable_samples(raw, rate)
    samples = _bridge(raw, usable)
    found = rpeaks.detect(samples, rate)
    described = beats.describe_beats(samples, rate, found.peaks)
    second = quality.second_detector(found.filtered, rate)
    alike = float(described.similarity.mean()) if len(found.peaks) >= 3 else 1.0
    disturbed = ~usable | quality.disturbed_samples(samples, rate, described.amplitude)
    unclear = np.flatnonzero(disturbed)[:: max(1, round(0.5 * rate))]
    return Lead(
        window.channel,
        quality.Quality(float(usable.mean()), max(alike, 0.0), quality.agreement(found.peaks, second, rate)),
        described,
        found.peaks / rate,
        np.concatenate((found.activity, unclear)) / rate,
        fibrillation.longest_s(samples, rate, RECENT_S),
    )


def _bridge(samples: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Unusable samples bridged by straight lines: filters need numbers, quality has counted the gap."""
    if usable.all() or not usable.any():
        return np.nan_to_num(samples)
    index = np.arange(len(samples))
    return np.interp(index, index[usable], samples[usable])


def _metrics(best: Lead, leads: Sequence[Lead], length_s: float, context: PatientContext) -> dict[str, float]:
    """What the limits are asked about.

    A pause or a slow run must be free of beats in every trusted lead and clear in at least one: where a beat may hide
    in all of them there is no pause. A fast run must be in every lead.
    """
    inside = (MODEL.guard_s, length_s - MODEL.guard_s)
    pooled = rhythm.pool([lead.peaks_s for lead in leads])
    calm = [rhythm.pool([pooled, lead.unclear_s]) for lead in leads]
    since = length_s - RECENT_S
    ventricular = best.beats.ventricular & (not context.pacemaker)
    sinus = rhythm.sinus_intervals(best.peaks_s, ventricular)
    metrics = {
        "heart_rate": rhythm.heart_rate(best.peaks_s[best.peaks_s >= length_s - 11]),
        "cosen": rhythm.irregularity(sinus),
        "pause_s": max(rhythm.longest_pause(times, (inside[0], length_s), since) for times in calm),
        "slowest_5_beats": min(rhythm.slowest_run(times, 5, since) for times in calm),
        "fastest_17_beats": min(rhythm.fastest_run(lead.peaks_s, 17, since) for lead in leads),
        "fibrillation_s": best.fibrillation_s,
    }
    if not context.pacemaker:  # paced beats are wide: ventricular beats cannot be told from them
        counted = ventricular & (best.peaks_s >= inside[0]) & (best.peaks_s < inside[1])
        metrics["ventricular_per_minute"] = 60 * float(counted.sum()) / (inside[1] - inside[0])
        metrics["ventricular_run"] = float(rhythm.longest_fast_run(best.peaks_s, ventricular, 100))
    return metrics


def _features(best: Lead, leads: Sequence[Lead], metrics: dict[str, float]) -> dict[str, Any]:
    known = {name: None if np.isnan(value) else round(float(value), 3) for name, value in metrics.items()}
    rr = np.diff(best.peaks_s)
    return {
        **known,
        "beats": len(best.peaks_s),
        "rr_median_s": round(float(np.median(rr)), 3) if len(rr) else None,
        "sdnn_ms": round(1000 * float(rr.std()), 1) if len(rr) > 1 else None,
        "rmssd_ms": round(1000 * float(np.sqrt(np.mean(np.diff(rr) ** 2))), 1) if len(rr) > 2 else None,
        "channel": best.channel,
        "quality": {
            lead.channel or "ECG": {
                "usable": round(lead.quality.usable, 3),
                "alike": round(lead.quality.alike, 3),
                "agreement": round(lead.quality.agreement, 3),
            }
            for lead in leads
        },
    }
