"""Built-in model `vital_limits`: each new reading of a vital sign against its limits; no waveform, no history."""

from collections.abc import Sequence
from datetime import datetime

from inference_service.builtin.limits import SIGNAL_LIMITS, VITAL_LIMITS, judge, judge_signal, limits_for
from inference_service.builtin.model import Input, Model, Outcome, PatientContext, Status, not_judged
from inference_service.builtin.readings import evaluation_time, latest_readings
from inference_service.signals.window import Window

MODEL = Model(
    name="vital_limits",
    version="1.0.0",
    entry_point="inference_service.builtin.vital_limits:infer",
    inputs=(
        Input("SpO2", "%", 0.0001, 100, max_age_s=15),
        Input("HR", "/min", 0.0001, 10, max_age_s=15),
        Input("BP", "mmHg", 0.0001, 10, max_age_s=60, channel="systolic"),
        Input("BP", "mmHg", 0.0001, 10, max_age_s=60, channel="diastolic"),
        Input("BP", "mmHg", 0.0001, 10, max_age_s=60, channel="mean"),
        Input("TEMP", "°C", 0.0001, 10, max_age_s=60),
    ),
    window_s=1,
    step_s=1,
    guard_s=0,
    min_quality=0,
    events=("DESAT", "ARRHYTHMIA", "HYPERTENSION", "HYPOTENSION", "FEVER", "HYPOTHERMIA", "SIGNAL_LOST"),
    limits=(*VITAL_LIMITS, *SIGNAL_LIMITS),
)
METRIC_OF = {
    "SpO2": "spo2",
    "HR": "heart_rate",
    "BP.systolic": "systolic",
    "BP.diastolic": "diastolic",
    "BP.mean": "mean_pressure",
    "TEMP": "temperature",
}
RESOLUTION_DIGITS = {"temperature": 1}  # readings are compared as they are displayed; the others as whole numbers
WORN = ("SpO2", "HR")  # a sensor that is worn: missing samples are a lost signal, not a quiet cuff
PLAUSIBLE = {
    "spo2": (50, 100),
    "heart_rate": (20, 300),
    "systolic": (40, 300),
    "diastolic": (20, 200),
    "mean_pressure": (25, 250),
    "temperature": (25, 45),
}


def infer(windows: Sequence[Window], context: PatientContext, at: datetime | None = None) -> Outcome:
    """Judge the newest reading of each signal at a time of the data (default: the end of the latest window).

    A reading that no living patient has is a fault of the sensor and counts as missing.
    """
    if not windows:
        return not_judged("no samples")
    at = at or evaluation_time(windows)
    try:
        readings = latest_readings(MODEL, windows, at)
    except ValueError as problem:
        return Outcome(Status.ERROR, reason=str(problem))
    usable = {
        METRIC_OF[key]: reading for key, reading in readings.items() if reading.fresh and _plausible(key, reading.value)
    }
    metrics = {metric: round(reading.value, RESOLUTION_DIGITS.get(metric, 0)) for metric, reading in usable.items()}
    times = {metric: reading.at for metric, reading in usable.items()}
    features = dict(metrics)
    pressures = [name for name in ("systolic", "diastolic") if name in metrics]
    if pressures:
        severe = metrics.get("systolic", 0) > 180 or metrics.get("diastolic", 0) > 120
        metrics["crisis"] = float(severe and context.symptoms)
        times["crisis"] = times[pressures[0]]
    limits = limits_for(MODEL.limits, context)
    findings = judge(limits, metrics, times)
    for signal in sorted({window.signal for window in windows if window.signal in WORN}):
        findings += judge_signal(limits, signal, float(METRIC_OF[signal] in metrics))
    if not features:
        return not_judged("no usable reading", findings)
    return Outcome(Status.OK, findings, features)


def _plausible(key: str, value: float) -> bool:
    least, greatest = PLAUSIBLE[METRIC_OF[key]]
    return least <= value <= greatest
