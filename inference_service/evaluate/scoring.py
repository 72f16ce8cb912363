"""Scores: beats matched as in EC57, alarms matched to episodes, counts that add up over records."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

BEAT_TOLERANCE_S = 0.15
EARLY_S, LATE_S = 30.0, 60.0  # an alarm is true from so long before an episode's onset until so long after its end


@dataclass
class Tally:
    """Counts of one record, or of many; seconds and beats a minute. `alarm_*` count openings, `found` episodes."""

    beats_true: int = 0
    beats_missed: int = 0
    beats_extra: int = 0
    rate_judged: int = 0
    rate_within_5: int = 0
    rate_errors: list[float] = field(default_factory=list)
    positive_windows: int = 0
    positive_flagged: int = 0
    negative_windows: int = 0
    negative_flagged: int = 0
    episodes: int = 0
    found: int = 0
    alarms: int = 0
    false_alarms: int = 0
    duplicates: int = 0
    delays_s: list[float] = field(default_factory=list)
    windows: int = 0
    abstained: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def sensitivity(self) -> float:
        return _percent(self.beats_true, self.beats_true + self.beats_missed)

    @property
    def precision(self) -> float:
        return _percent(self.beats_true, self.beats_true + self.beats_extra)

    @property
    def within_5(self) -> float:
        return _percent(self.rate_within_5, self.rate_judged)

    @property
    def rate_error(self) -> float:
        return float(np.mean(self.rate_errors)) if self.rate_errors else np.nan

    @property
    def window_sensitivity(self) -> float:
        return _percent(self.positive_flagged, self.positive_windows)

    @property
    def window_specificity(self) -> float:
        return _percent(self.negative_windows - self.negative_flagged, self.negative_windows)

    @property
    def found_share(self) -> float:
        return _percent(self.found, self.episodes)

    @property
    def false_alarms_per_day(self) -> float:
        return self.false_alarms * 86400 / self.seconds if self.seconds else np.nan

    def delay(self, percentile: float) -> float:
        return float(np.percentile(self.delays_s, percentile)) if self.delays_s else np.nan

    @property
    def abstained_share(self) -> float:
        return _percent(self.abstained, self.windows)

    @property
    def challenge_score(self) -> float:
        """The score of the PhysioNet/CinC Challenge 2015: a missed alarm costs five times a false one."""
        missed = self.positive_windows - self.positive_flagged
        right = self.positive_flagged + self.negative_windows - self.negative_flagged
        return _percent(right, self.positive_windows + self.negative_windows + 4 * missed)


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else np.nan


def score_beats(reference_s: np.ndarray, detected_s: np.ndarray) -> Tally:
    """Match ascending times one to one, the nearest within the tolerance first in time."""
    i = j = matched = 0
    while i < len(reference_s) and j < len(detected_s):
        apart = detected_s[j] - reference_s[i]
        matched += abs(apart) <= BEAT_TOLERANCE_S
        i += apart >= -BEAT_TOLERANCE_S
        j += apart <= BEAT_TOLERANCE_S
    return Tally(beats_true=matched, beats_missed=len(reference_s) - matched, beats_extra=len(detected_s) - matched)


def score_episodes(
    episodes: Sequence[tuple[float, float]],
    alarms: Sequence[tuple[float, float]],
    seconds: float,
    counted: Iterable[tuple[float, float]] | None = None,
) -> Tally:
    """Alarms as (opened, closed) against episodes as (onset, end), in seconds.

    `counted` are the episodes that must be found (default: all); an alarm near any of `episodes` is not false. An
    episode is found by an alarm that opens in [onset - 30 s, end + 60 s] or is still open at its onset. The delay
    counts only where the alarm opened for this episode; further openings are duplicates.
    """
    tally = Tally(seconds=seconds, alarms=len(alarms))
    opened = np.array([alarm[0] for alarm in alarms])
    closed = np.array([alarm[1] for alarm in alarms])
    for onset, end in episodes if counted is None else counted:
        tally.episodes += 1
        own = (opened >= onset - EARLY_S) & (opened <= end + LATE_S)
        running = (opened < onset) & (closed >= onset)
        tally.found += bool((own | running).any())
        tally.duplicates += max(0, int(own.sum()) - 1)
        if own.any() and not (running & ~own).any():
            tally.delays_s.append(max(0.0, float(opened[own].min()) - onset))
    tally.false_alarms = sum(not any(onset - EARLY_S <= at <= end + LATE_S for onset, end in episodes) for at in opened)
    return tally
