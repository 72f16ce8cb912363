"""From samples to outcomes: cuts the windows of a stream and asks the built-in models. Pure; needs numpy and scipy,
so that the web process imports it at the first use only."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import structlog

from inference_service.builtin import ecg_rhythm, news2, vital_limits
from inference_service.builtin.limits import Limit, judge_signal, limits_for
from inference_service.builtin.model import Model, Observed, Outcome, PatientContext, Status, not_judged
from inference_service.models import PatientProfile
from inference_service.samples import Reading, Stretch
from inference_service.signals.window import Window

log = structlog.get_logger()

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
TOLERANCE = timedelta(milliseconds=1)  # the wire's times are rounded to microseconds
Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Judged:
    """A model's answer to the window [start, end); `at` is the data time that its findings stand for."""

    model: Model
    limits: Sequence[Limit]
    start: datetime
    end: datetime
    at: datetime
    outcome: Outcome


def context_of(profile: PatientProfile | None) -> PatientContext:
    """What a model is told of a patient."""
    if profile is None:
        return PatientContext()
    return PatientContext(
        age_years=None if profile.birthdate is None else age_years(profile.birthdate, datetime.now(UTC).date()),
        pregnant=profile.pregnant,
        spo2_scale=profile.spo2_scale,
        on_oxygen=None if profile.on_oxygen_at is None else Observed(profile.on_oxygen, profile.on_oxygen_at),
        consciousness=(
            None if profile.consciousness_at is None else Observed(profile.consciousness, profile.consciousness_at)
        ),
        known_af=profile.known_af,
        pacemaker=profile.pacemaker,
        symptoms=profile.symptoms,
        limits=tuple(profile.limits),
    )


def age_years(birthdate: date, today: date) -> int:
    """Completed years."""
    return today.year - birthdate.year - ((today.month, today.day) < (birthdate.month, birthdate.day))


def is_waveform(monitor: Any) -> bool:
    """Whether a stream is judged in windows of many samples, not reading by reading."""
    return monitor.signal_type == "ECG"


def floor_to(moment: datetime, step_s: float) -> datetime:
    """The last multiple of `step_s` since 1970: windows lie on one grid, whoever cuts them and whenever."""
    return EPOCH + timedelta(seconds=math.floor((moment - EPOCH) / SECOND / step_s) * step_s)


# --- ECG -----------------------------------------------------------------------------------------------------------


def judge_waveform(
    monitor: Any, context: PatientContext, stretches: Sequence[Stretch], after: datetime, until: datetime
) -> list[Judged]:
    """The ECG windows that end after `after` and not after `until`, without those that hold too few samples to judge.

    Samples missing at the start of a window shorten it; missing samples elsewhere are part of its quality.
    """
    if not stretches:
        return []
    model = ecg_rhythm.MODEL
    limits = limits_for(model.limits, context)
    rate, origin = stretches[-1].rate_hz, stretches[0].started_at
    samples = _on_grid([item for item in stretches if item.rate_hz == rate], rate, origin, until)
    judged = []
    end = floor_to(after, model.step_s) + timedelta(seconds=model.step_s)
    while end <= until + TOLERANCE:
        stop = round((end - origin) / SECOND * rate)
        window = samples[max(0, stop - round(model.window_s * rate)) : max(0, stop)]
        missing = int(np.argmax(np.isfinite(window))) if np.isfinite(window).any() else len(window)
        window = window[missing:]
        if len(window) >= ecg_rhythm.MIN_WINDOW_S * rate:
            start = origin + timedelta(seconds=(stop - len(window)) / rate)
            cut = Window("ECG", monitor.unit, rate, start, window, monitor.channel)
            outcome = _ask(ecg_rhythm.infer, [cut], context, end)
            judged.append(Judged(model, limits, start, end, end, outcome))
        end += timedelta(seconds=model.step_s)
    return judged


def _on_grid(stretches: Iterable[Stretch], rate: float, origin: datetime, until: datetime) -> np.ndarray:
    samples = np.full(max(1, round((until - origin) / SECOND * rate)), np.nan)
    for item in stretches:
        first = round((item.started_at - origin) / SECOND * rate)
        room = samples[first : first + len(item.values)]
        room[:] = item.values[: len(room)]
    return samples


# --- vital signs ---------------------------------------------------------------------------------------------------


def judge_readings(monitor: Any, context: PatientContext, readings: Iterable[Reading]) -> list[Judged]:
    """Each reading against its own limits; nothing for a signal that has none."""
    model = vital_limits.MODEL
    if model.input_for(monitor.signal_type, monitor.channel) is None:
        return []
    limits = limits_for(model.limits, context)
    return [
        Judged(
            model,
            limits,
            reading.at,
            reading.at + SECOND,
            reading.at,
            _ask(vital_limits.infer, [_single(monitor, reading)], context, reading.at),
        )
        for reading in readings
    ]


def judge_risk(
    monitor: Any, context: PatientContext, readings: Iterable[Reading], others: Sequence[Any]
) -> list[Judged]:
    """NEWS2 on each change of this stream and each minute, with the latest readings of the patient's other streams.

    It is scored at the latest of all those times, so that data time does not run backwards between streams.
    """
    model = news2.MODEL
    if model.input_for(monitor.signal_type, monitor.channel) is None:
        return []
    limits = limits_for(model.limits, context)
    known = [_single(other, Reading(other.latest_at, other.latest_value)) for other in others]
    newest = max((other.latest_at for other in others), default=EPOCH)
    judged: list[Judged] = []
    before = None if monitor.latest_at is None else Reading(monitor.latest_at, monitor.latest_value)
    for reading in readings:
        at = max(reading.at, newest)
        if before is None or reading.value != before.value or minute_of(reading.at) > minute_of(before.at):
            outcome = _ask(news2.infer, [*known, _single(monitor, reading)], context, at)
            start = at - timedelta(seconds=model.window_s)
            judged.append(Judged(model, limits, start, at, at, outcome))
        before = reading
    return judged


def steady(readings: Sequence[Reading], since: datetime) -> list[Reading]:
    """The readings from `since` on, each as the median of the minute before it where that holds three or more.

    A score that pages at the first crossing must not hang on one second of a moving finger; a cuff is taken as it is.
    """
    steadied, first = [], 0
    for last, reading in enumerate(readings):
        while reading.at - readings[first].at >= MINUTE:
            first += 1
        minute = [item.value for item in readings[first : last + 1]]
        if reading.at >= since:
            value = statistics.median(minute) if len(minute) >= 3 else reading.value
            steadied.append(Reading(reading.at, value))
    return steadied


def _single(monitor: Any, reading: Reading) -> Window:
    rate = monitor.sample_rate_hz
    return Window(monitor.signal_type, monitor.unit, rate, reading.at, np.array([reading.value]), monitor.channel)


# --- silence, gaps -------------------------------------------------------------------------------------------------


def model_of(monitor: Any) -> Model:
    """The model that judges a stream by itself."""
    return ecg_rhythm.MODEL if is_waveform(monitor) else vital_limits.MODEL


def judge_silence(monitor: Any, context: PatientContext, moments: Sequence[datetime]) -> list[Judged]:
    """A signal that is not there, at each of these data times; nothing for signals that are only measured at times."""
    model = model_of(monitor)
    limits = limits_for(model.limits, context)
    lost = judge_signal(limits, monitor.signal_type, 0.0)
    outcome = not_judged("no samples", lost)
    return [Judged(model, limits, monitor.written_until, at, at, outcome) for at in moments if lost]


def ended(monitor: Any, at: datetime) -> Judged:
    """The end of a stream, at which its loss of signal ends too."""
    return Judged(model_of(monitor), (), at, at + SECOND, at, not_judged("the stream has ended"))


def gaps_between(spans: Iterable[Span], start: datetime, stop: datetime, tolerance: timedelta) -> list[Span]:
    """The parts of [start, stop) longer than `tolerance` that none of the ascending `spans` covers."""
    gaps, reached = [], start
    for begun, ended in spans:
        if begun - reached > tolerance:
            gaps.append((reached, min(begun, stop)))
        reached = max(reached, ended)
    if stop - reached > tolerance:
        gaps.append((reached, stop))
    return gaps


def minute_of(moment: datetime) -> int:
    """Minutes since 1970."""
    return (moment - EPOCH) // MINUTE


def _ask(infer: Callable[..., Outcome], windows: Sequence[Window], context: PatientContext, at: datetime) -> Outcome:
    """The model's answer; an unforeseen failure becomes the outcome `error`, said in the log.

    One patient's samples must not stop the worker that watches all others.
    """
    try:
        return infer(windows, context, at)
    except Exception as error:
        log.exception("inference.model_failed", model=infer.__module__)
        return Outcome(Status.ERROR, reason=type(error).__name__)
