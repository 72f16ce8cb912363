"""RR intervals and what they say: heart rate, pauses, runs of slow and fast beats, irregularity (CoSEn)."""

import numpy as np

RR_RANGE_S = (0.24, 3.0)  # 250 down to 20 beats a minute; anything else is a missed or doubled beat
COSEN_TOLERANCE_S = 0.030
COSEN_MATCHES = 5  # the tolerance grows until that many pairs match
COSEN_MIN_INTERVALS = 12
UNSTEADY_SHARE, REGULAR = 0.7, -2.0


def cosen(rr_s: np.ndarray) -> float:
    """Coefficient of sample entropy, m = 1 (Lake and Moorman 2011); NaN below 12 intervals.

    The quadratic entropy -ln(A/B) + ln(2r), less the log of the mean interval; above about -1.0 the rhythm is
    irregular as in atrial fibrillation.
    """
    if len(rr_s) < COSEN_MIN_INTERVALS:
        return float("nan")
    apart = np.abs(rr_s[:, None] - rr_s)
    first = np.triu_indices(len(rr_s) - 1, k=1)
    now, following = apart[:-1, :-1][first], apart[1:, 1:][first]
    both = np.partition(np.maximum(now, following), COSEN_MATCHES - 1)[COSEN_MATCHES - 1]
    tolerance = max(COSEN_TOLERANCE_S, float(both))
    longer = np.count_nonzero(np.maximum(now, following) <= tolerance)
    shorter = np.count_nonzero(now <= tolerance)
    return float(-np.log(longer / shorter) + np.log(2 * tolerance) - np.log(rr_s.mean()))


def sinus_intervals(peaks_s: np.ndarray, ventricular: np.ndarray) -> np.ndarray:
    """RR intervals in seconds without those beside a ventricular beat, and without impossible ones."""
    rr = np.diff(peaks_s)
    keep = (rr >= RR_RANGE_S[0]) & (rr <= RR_RANGE_S[1]) & ~ventricular[:-1] & ~ventricular[1:]
    return rr[keep]


def heart_rate(peaks_s: np.ndarray) -> float:
    """Beats a minute from the median RR interval; NaN below 3 beats."""
    return float("nan") if len(peaks_s) < 3 else float(60 / np.median(np.diff(peaks_s)))


def irregularity(rr_s: np.ndarray) -> float:
    """CoSEn, or -2 (regular) where fewer than 70 % of successive intervals differ by 4 % of the median.

    A regular rhythm with some extra beats has a high entropy too, but most of its intervals repeat.
    """
    value = cosen(rr_s)
    if np.isnan(value):
        return value
    unsteady = np.mean(np.abs(np.diff(rr_s)) > 0.04 * np.median(rr_s))
    return value if unsteady >= UNSTEADY_SHARE else min(value, REGULAR)


def pool(peaks_s: list[np.ndarray]) -> np.ndarray:
    """Beats seen in any lead; the same beat in two leads counts once."""
    if len(peaks_s) == 1:
        return peaks_s[0]
    every = np.sort(np.concatenate(peaks_s))
    return every[np.diff(every, prepend=-np.inf) > 0.15]


def longest_pause(peaks_s: np.ndarray, inside: tuple[float, float], since: float) -> float:
    """Seconds of the longest time without a beat that ends after `since`; edges of the window count as beats."""
    edges = np.concatenate(([inside[0]], peaks_s[(peaks_s > inside[0]) & (peaks_s < inside[1])], [inside[1]]))
    gaps = np.diff(edges)
    return float(gaps[edges[1:] > since].max())


def slowest_run(peaks_s: np.ndarray, beats: int, since: float) -> float:
    """The lowest mean rate over so many beats in a row that end after `since`, beats a minute; NaN when too few."""
    if len(peaks_s) < beats:
        return float("nan")
    spans = peaks_s[beats - 1 :] - peaks_s[: 1 - beats]
    recent = spans[peaks_s[beats - 1 :] > since]
    return float(60 * (beats - 1) / recent.max()) if len(recent) else float("nan")


def fastest_run(peaks_s: np.ndarray, beats: int, since: float) -> float:
    """The highest rate over so many beats in a row that end after `since`, beats a minute; 0 when there are too few.

    By the median interval, which one missed or doubled beat does not move.
    """
    if len(peaks_s) < beats:
        return 0.0
    medians = np.median(np.lib.stride_tricks.sliding_window_view(np.diff(peaks_s), beats - 1), axis=1)
    return float(60 / medians[peaks_s[beats - 1 :] > since].min(initial=np.inf))


def longest_fast_run(peaks_s: np.ndarray, ventricular: np.ndarray, rate: float) -> int:
    """Beats in the longest run of ventricular beats that follow each other faster than `rate` a minute."""
    longest = current = 0
    last = -np.inf
    for at, is_ventricular in zip(peaks_s, ventricular, strict=True):
        fast = at - last < 60 / rate
        current = (current + 1 if fast and current else 1) if is_ventricular else 0
        longest, last = max(longest, current), at
    return longest
