"""Built-in model `news2`: general risk by NEWS2, on change or each minute, every input with its own maximum age."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from inference_service.builtin.limits import NEWS2_LIMITS, judge, limits_for
from inference_service.builtin.model import Input, Level, Model, Outcome, PatientContext, Status, not_judged
from inference_service.builtin.readings import evaluation_time, latest_readings
from inference_service.signals.news2 import Score, score_news2
from inference_service.signals.window import Window

MODEL = Model(
    name="news2",
    version="1.0.0",
    entry_point="inference_service.builtin.news2:infer",
    inputs=(
        Input("RESP", "/min", 0.0001, 10, max_age_s=3600),
        Input("SpO2", "%", 0.0001, 100, max_age_s=3600),
        Input("BP", "mmHg", 0.0001, 10, max_age_s=4 * 3600, channel="systolic"),
        Input("HR", "/min", 0.0001, 10, max_age_s=3600),
        Input("TEMP", "°C", 0.0001, 10, max_age_s=8 * 3600),
    ),
    window_s=60,
    step_s=60,
    guard_s=0,
    min_quality=0,
    events=("GENERAL_RISK",),
    limits=NEWS2_LIMITS,
)
ENTERED_MAX_AGE_S = 12 * 3600  # consciousness and oxygen are entered by people, at least each 12 h (choice)
MIN_AGE_YEARS = 16
INPUTS = {"respiration": "RESP", "spo2": "SpO2", "systolic": "BP.systolic", "pulse": "HR", "temperature": "TEMP"}


def infer(windows: Sequence[Window], context: PatientContext, at: datetime | None = None) -> Outcome:
    """Score the newest readings at a time of the data (default: the end of the latest window).

    A partial score is a lower bound: it may raise an alarm. It may end one only while all five measured
    parameters are fresh, and stale values then still count towards holding it.
    """
    if context.pregnant or (context.age_years is not None and context.age_years < MIN_AGE_YEARS):
        return not_judged("news2 is not for people under 16 or pregnant")
    if not windows:
        return not_judged("no samples")
    at = at or evaluation_time(windows)
    try:
        readings = latest_readings(MODEL, windows, at)
        known: dict[str, Any] = {name: readings[key].value for name, key in INPUTS.items() if key in readings}
        fresh = {name: value for name, value in known.items() if readings[INPUTS[name]].fresh}
        for name in ("oxygen", "consciousness"):
            entered = getattr(context, "on_oxygen" if name == "oxygen" else name)
            if entered is not None and entered.at <= at:
                known[name] = entered.value
                if (at - entered.at).total_seconds() <= ENTERED_MAX_AGE_S:
                    fresh[name] = entered.value
        score = score_news2(**fresh, spo2_scale=context.spo2_scale)
        with_stale = score_news2(**known, spo2_scale=context.spo2_scale)
    except ValueError as problem:
        return Outcome(Status.ERROR, reason=str(problem))
    features: dict[str, Any] = {
        "score": score.total,
        "partial": score.partial,
        "parts": score.parts,
        "missing": list(score.missing),
        "single": score.single,
        "values": fresh,
        "spo2_scale": context.spo2_scale,
    }
    limits = limits_for(MODEL.limits, context)
    findings = judge(limits, _metrics(score), parts=score.parts, missing=list(score.missing), partial=score.partial)
    holding = judge(limits, _metrics(with_stale))
    findings = tuple(
        replace(finding, holds=max(filter(None, (finding.holds, stale.holds)), default=None))
        for finding, stale in zip(findings, holding, strict=True)
    )
    measured = all(name not in score.missing for name in INPUTS)
    if not measured and all((finding.level or 0) < Level.MEDIUM for finding in findings):
        return not_judged("missing: " + ", ".join(score.missing), **features)
    return Outcome(Status.OK, findings, features)


def _metrics(score: Score) -> dict[str, float]:
    return {"news2": score.total, "news2_single": score.single}
