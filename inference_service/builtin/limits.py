"""The limits table: which value of which metric is which level of which event. Data; policies override it.

Levels and times are engineering choices that a clinician must confirm, save where `source` names a standard.
"""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from inference_service.builtin.model import Finding, Level, PatientContext

COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}

# metric: (unit, least, greatest). The span maps a value to a score in 0..1 and bounds what an override may say.
METRICS: dict[str, tuple[str, float, float]] = {
    "spo2": ("%", 50, 100),
    "heart_rate": ("/min", 0, 300),
    "systolic": ("mmHg", 0, 300),
    "diastolic": ("mmHg", 0, 200),
    "mean_pressure": ("mmHg", 0, 250),
    "crisis": ("", 0, 1),
    "temperature": ("°C", 25, 45),
    "news2": ("", 0, 20),
    "news2_single": ("", 0, 3),
    "cosen": ("", -4, 2),
    "pause_s": ("s", 0, 30),
    "slowest_5_beats": ("/min", 0, 300),
    "fastest_17_beats": ("/min", 0, 300),
    "ventricular_run": ("beats", 0, 100),
    "ventricular_per_minute": ("/min", 0, 200),
    "fibrillation_s": ("s", 0, 30),
    "quality_lost": ("", 0, 1),
}


@dataclass(frozen=True)
class Limit:
    """One row. It holds for `persists_s` and `persists_readings` before it counts, and ends `clears_s` after the
    value passed `clears_at` (None: as soon as the limit is no longer crossed). Evidence interrupted for longer
    than `gap_s` starts anew."""

    event_type: str
    condition: str
    level: Level
    metric: str
    comparison: str
    value: float
    persists_s: float = 0
    persists_readings: int = 1
    clears_at: float | None = None
    clears_s: float = 0
    gap_s: float = 60
    spo2_scale: int | None = None
    enabled: bool = True
    source: str = "choice"

    def __post_init__(self) -> None:
        _, least, greatest = METRICS[self.metric]
        if self.comparison not in COMPARISONS or not least <= self.value <= greatest:
            raise ValueError(f"limit {self.condition} {self.comparison} {self.value}: outside {least}..{greatest}")
        if min(self.persists_s, self.clears_s, self.gap_s) < 0 or self.persists_readings < 1:
            raise ValueError(f"limit {self.condition}: times are not negative, readings at least 1")

    def crossed(self, value: float) -> bool:
        return COMPARISONS[self.comparison](value, self.value)

    def held(self, value: float) -> bool:
        """Whether the value has not yet passed the clearing value."""
        if self.clears_at is None:
            return self.crossed(value)
        return value > self.clears_at if self.comparison in (">=", ">") else value < self.clears_at

    def score(self, value: float) -> float:
        """Where a value lies in the metric's span, 0..1, greater is worse."""
        _, least, greatest = METRICS[self.metric]
        share = (min(max(value, least), greatest) - least) / (greatest - least)
        return round(share if self.comparison in (">=", ">") else 1 - share, 4)


def _graded(
    event_type: str, condition: str, metric: str, comparison: str, values: dict[Level, float], **rest: Any
) -> tuple[Limit, ...]:
    return tuple(
        Limit(event_type, condition, level, metric, comparison, value, **rest) for level, value in values.items()
    )


LOW, MEDIUM, HIGH, CRITICAL = Level
CUFF: dict[str, Any] = {"gap_s": 7200.0, "persists_readings": 2}
THERMOMETER: dict[str, Any] = {"gap_s": 8 * 3600.0, "persists_readings": 2}
RCP = "Royal College of Physicians, NEWS2, 2017"
CINC = "PhysioNet/CinC Challenge 2015"


def _desat(scale: int, medium: float, high: float, critical: float, back: float) -> tuple[Limit, ...]:
    return tuple(
        Limit("DESAT", "spo2", level, "spo2", "<=", value, 15, clears_at=value + back, clears_s=30, spo2_scale=scale)
        for level, value in ((MEDIUM, medium), (HIGH, high), (CRITICAL, critical))
    )


VITAL_LIMITS: tuple[Limit, ...] = (
    *_desat(1, 90, 88, 85, back=2),
    *_desat(2, 87, 85, 83, back=2),
    Limit("ARRHYTHMIA", "fast_pulse", MEDIUM, "heart_rate", ">=", 111, 15, clears_at=108, clears_s=30),
    Limit("ARRHYTHMIA", "fast_pulse", HIGH, "heart_rate", ">=", 131, 15, clears_at=128, clears_s=30),
    Limit("ARRHYTHMIA", "slow_pulse", HIGH, "heart_rate", "<=", 40, 15, clears_at=43, clears_s=30),
    *_graded("HYPERTENSION", "systolic", "systolic", ">=", {LOW: 140, MEDIUM: 160, HIGH: 180, CRITICAL: 220}, **CUFF),
    *_graded("HYPERTENSION", "diastolic", "diastolic", ">=", {LOW: 90, MEDIUM: 100, HIGH: 110}, **CUFF),
    Limit("HYPERTENSION", "crisis_with_symptoms", CRITICAL, "crisis", ">=", 1, **CUFF),
    *_graded("HYPOTENSION", "systolic", "systolic", "<=", {MEDIUM: 100, HIGH: 90}, **CUFF),
    Limit("HYPOTENSION", "systolic", CRITICAL, "systolic", "<=", 80, gap_s=7200),
    Limit("HYPOTENSION", "mean_pressure", HIGH, "mean_pressure", "<", 65, **CUFF),
    Limit("FEVER", "temperature", MEDIUM, "temperature", ">=", 38.1, **THERMOMETER, clears_at=38.0),
    Limit("FEVER", "temperature", HIGH, "temperature", ">=", 39.1, **THERMOMETER),
    *_graded("HYPOTHERMIA", "temperature", "temperature", "<=", {MEDIUM: 36.0, HIGH: 35.0}, **THERMOMETER),
    Limit("HYPOTHERMIA", "temperature", CRITICAL, "temperature", "<", 32, **THERMOMETER),
)

NEWS2_LIMITS: tuple[Limit, ...] = (
    Limit("GENERAL_RISK", "news2", LOW, "news2", ">=", 1, clears_s=7200, gap_s=7200, source=RCP),
    Limit("GENERAL_RISK", "news2", MEDIUM, "news2_single", ">=", 3, clears_s=7200, gap_s=7200, source=RCP),
    Limit("GENERAL_RISK", "news2", HIGH, "news2", ">=", 5, clears_s=7200, gap_s=7200, source=RCP),
    Limit("GENERAL_RISK", "news2", CRITICAL, "news2", ">=", 7, clears_s=7200, gap_s=7200, source=RCP),
)

ECG_LIMITS: tuple[Limit, ...] = (
    Limit("ARRHYTHMIA", "new_af", MEDIUM, "cosen", ">=", -1.0, 35, clears_at=-1.4, clears_s=300,
          source="Lake and Moorman 2011; limit and persistence measured on AFDB"),
    Limit("ARRHYTHMIA", "tachycardia", MEDIUM, "heart_rate", ">=", 111, 15, clears_at=108, clears_s=30),
    Limit("ARRHYTHMIA", "tachycardia", HIGH, "heart_rate", ">=", 131, 15, clears_at=128, clears_s=30),
    Limit("ARRHYTHMIA", "bradycardia", HIGH, "heart_rate", "<=", 40, 15, clears_at=43, clears_s=30),
    Limit("ARRHYTHMIA", "asystole", CRITICAL, "pause_s", ">=", 4, clears_s=30, source=CINC),
    Limit("ARRHYTHMIA", "extreme_bradycardia", CRITICAL, "slowest_5_beats", "<", 40, clears_s=30, source=CINC),
    Limit("ARRHYTHMIA", "extreme_tachycardia", CRITICAL, "fastest_17_beats", ">", 140, clears_s=30, source=CINC),
    Limit("ARRHYTHMIA", "fibrillation", CRITICAL, "fibrillation_s", ">=", 4, clears_s=30, source=CINC),
    # The usual monitor limit of 10 premature ventricular beats a minute (Lown and Wolf 1971: frequent from 30 an hour).
    # Medium and slow to repeat, because they seldom need an immediate act (Drew and others 2014); policies may mute it.
    Limit("ARRHYTHMIA", "ventricular_ectopy", MEDIUM, "ventricular_per_minute", ">=", 10, 60, clears_at=5, clears_s=900,
          source="Lown and Wolf 1971; monitor convention"),
    # Ventricular run detection is not good enough to page anybody: recorded, shown, and raised by policy only.
    Limit("ARRHYTHMIA", "ventricular_run", LOW, "ventricular_run", ">=", 5, clears_s=60, source=CINC),
)  # fmt: skip

SIGNAL_LIMITS: tuple[Limit, ...] = tuple(
    Limit("SIGNAL_LOST", signal, level, "quality_lost", ">", 0.4, seconds, clears_s=15, gap_s=3600)
    for signal in ("ECG", "SpO2", "HR")
    for level, seconds in ((MEDIUM, 60), (HIGH, 600))
)

ALL_LIMITS = (*VITAL_LIMITS, *NEWS2_LIMITS, *ECG_LIMITS, *SIGNAL_LIMITS)


def with_overrides(limits: Sequence[Limit], overrides: Iterable[Mapping[str, Any]]) -> tuple[Limit, ...]:
    """Limits changed by a policy, a model version or a patient's own limits.

    An override names `event_type` and `condition`, may narrow to a `level`, and gives the fields to change.
    Raises ValueError for a row or a field that does not exist: a limit that silently stays is dangerous.
    """
    changed = list(limits)
    keys = ("event_type", "condition", "level")
    known = {field.name for field in fields(Limit)} - {*keys, "metric", "comparison", "spo2_scale"}
    for override in overrides:
        selector = {key: override[key] for key in keys if key in override}
        values = {key: value for key, value in override.items() if key not in keys}
        if not {"event_type", "condition"} <= selector.keys() or not values or not values.keys() <= known:
            raise ValueError(f"limit override {sorted(override)}: unknown or missing fields")
        if "level" in selector:
            level = selector["level"]
            selector["level"] = Level[level.upper()] if isinstance(level, str) else Level(level)
        rows = [i for i, row in enumerate(changed) if all(getattr(row, k) == v for k, v in selector.items())]
        if not rows:
            raise ValueError(f"limit override: no limit {selector}")
        for i in rows:
            changed[i] = replace(changed[i], **values)
    return tuple(changed)


def limits_for(limits: Sequence[Limit], context: PatientContext) -> tuple[Limit, ...]:
    """The enabled limits of one patient: own overrides, and the rows of the patient's SpO2 scale.

    Overrides of other models' events are passed over; check new ones with `with_overrides(ALL_LIMITS, ...)`.
    """
    here = {(row.event_type, row.condition) for row in limits}
    own = [o for o in context.limits if (o.get("event_type"), o.get("condition")) in here]
    chosen = with_overrides(limits, own)
    return tuple(row for row in chosen if row.enabled and row.spo2_scale in (None, context.spo2_scale))


def judge(
    limits: Sequence[Limit], metrics: Mapping[str, float], times: Mapping[str, datetime] = {}, **explanation: Any
) -> tuple[Finding, ...]:
    """One finding for each condition of which a metric is known; conditions without a value are left unjudged."""
    findings = []
    by_condition = sorted(limits, key=lambda row: (row.event_type, row.condition, row.level))
    for (event_type, condition), group in groupby(by_condition, key=lambda row: (row.event_type, row.condition)):
        rows = [row for row in group if not math.isnan(metrics.get(row.metric, math.nan))]
        if not rows:
            continue
        crossed = [row for row in rows if row.crossed(metrics[row.metric])]
        held = [row for row in rows if row.held(metrics[row.metric])]
        row = crossed[-1] if crossed else rows[0]
        facts = {
            "metric": row.metric,
            "value": round(metrics[row.metric], 4),
            "unit": METRICS[row.metric][0],
            "limit": f"{row.comparison} {row.value:g}",
            **explanation,
        }
        findings.append(
            Finding(
                event_type,
                row.level if crossed else None,
                row.score(metrics[row.metric]),
                row.score(row.value),
                facts,
                condition,
                max((r.level for r in held + crossed), default=None),
                times.get(row.metric),
            )
        )
    return tuple(findings)


def judge_signal(limits: Sequence[Limit], signal: str, quality: float, **explanation: Any) -> tuple[Finding, ...]:
    """SIGNAL_LOST of one signal from its quality, 0..1."""
    rows = [row for row in limits if row.event_type == "SIGNAL_LOST" and row.condition == signal]
    return judge(rows, {"quality_lost": 1 - quality}, signal=signal, **explanation)


def as_json(limits: Iterable[Limit]) -> list[dict[str, Any]]:
    """Rows as they are stored with a model version."""
    return [{**asdict(row), "level": row.level.name.lower()} for row in limits]
