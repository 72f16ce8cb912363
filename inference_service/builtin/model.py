"""What a model is, what it is told and what it answers."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any


class Level(IntEnum):
    """Alert levels; LOW is recorded and pages nobody."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Status(StrEnum):
    """`abstain`: the window cannot be judged; it never reads as normal. `error`: the input is not what was agreed."""

    OK = "ok"
    ABSTAIN = "abstain"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One condition judged in one window; a condition without a finding was not judged.

    `level` is None below every limit. `holds` is the highest level whose clearing value is not reached yet, so that
    between limit and clearing value an episode neither starts nor ends. `score` reaches `threshold` when the limit
    is crossed; both lie in 0..1. `at` is the time of the evidence where that is one reading; None is the window's
    end. One reading counts once, however often it is judged.
    """

    event_type: str
    level: Level | None
    score: float
    threshold: float
    explanation: dict[str, Any]
    condition: str = ""
    holds: Level | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class Outcome:
    """The answer to one window. `findings` may hold technical ones (SIGNAL_LOST) when the status is not ok."""

    status: Status
    findings: tuple[Finding, ...] = ()
    features: dict[str, Any] = field(default_factory=dict)
    quality: float | None = None
    reason: str = ""

    def headlines(self) -> tuple[Finding, ...]:
        """The most severe finding of each event type: what one stored inference a window and event holds."""
        best: dict[str, Finding] = {}
        for finding in self.findings:
            rival = best.get(finding.event_type)
            if rival is None or _severity(finding) > _severity(rival):
                best[finding.event_type] = finding
        return tuple(best.values())


def _severity(finding: Finding) -> tuple[int, float]:
    return finding.level or 0, finding.score - finding.threshold


@dataclass(frozen=True)
class Observed:
    """A fact that a person entered, and when."""

    value: Any
    at: datetime


@dataclass(frozen=True)
class PatientContext:
    """What is known of the patient besides the signals. `limits`: overrides, see `limits.with_overrides`."""

    age_years: float | None = None
    pregnant: bool = False
    spo2_scale: int = 1
    on_oxygen: Observed | None = None
    consciousness: Observed | None = None
    known_af: bool = False
    pacemaker: bool = False
    symptoms: bool = False
    limits: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Input:
    """A signal that a model takes. `max_age_s`: an older sample counts as missing."""

    signal: str
    unit: str
    min_rate_hz: float
    max_rate_hz: float
    max_age_s: float
    channel: str = ""


@dataclass(frozen=True)
class Model:
    """Metadata of a model version, as stored in `model_versions`."""

    name: str
    version: str
    entry_point: str
    inputs: tuple[Input, ...]
    window_s: float
    step_s: float
    guard_s: float
    min_quality: float
    events: tuple[str, ...]
    limits: tuple[Any, ...]
    runtime: str = "builtin"

    def input_for(self, signal: str, channel: str = "") -> Input | None:
        return next((i for i in self.inputs if i.signal == signal and i.channel in ("", channel)), None)


def not_judged(reason: str, findings: Iterable[Finding] = (), **features: Any) -> Outcome:
    """An abstention with its reason."""
    return Outcome(Status.ABSTAIN, tuple(findings), features, reason=reason)
