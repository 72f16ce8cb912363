"""Beat shapes: families of alike beats, the ventricular (early, wide, other-shaped) ones, and their runs."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import signal

SHAPE_BAND_HZ = (1.0, 30.0)
SHAPE_S = (0.14, 0.34)  # before and after the R peak: QRS and most of the T wave, which turns over in ventricular beats
SHAPE_RATE_HZ = 125.0  # enough for a shape; keeps the correlation matrix small
LAGS = 4  # shifts of 8 ms to either side
SAME_SHAPE = 0.92  # correlation from which two beats belong to one family
SAME_WIDTH = 0.2  # difference of the logarithm of the width up to which they do
FAMILIES = 4
FAMILY_SHARE = 0.12  # a family that small of all beats is not the patient's normal beat
LOCAL_BEATS = 5
EARLY = 0.87  # of the local RR interval
# Log odds of a ventricular beat: intercept, shape distance, log width, log of (next RR / last RR).
# Logistic regression on MIT-BIH beats (AAMI V against the rest, paced and fusion beats left out).
VENTRICULAR_ODDS = (-5.95, 7.11, 3.82, 3.53)
VENTRICULAR_LIMIT = 0.4  # probability


@dataclass(frozen=True)
class Beats:
    """One entry a beat. `similarity`: correlation with its family's template; `to_normal`: with the normal one.

    `amplitude` is the median height of a beat from lowest to highest sample.
    """

    peaks: np.ndarray
    similarity: np.ndarray
    to_normal: np.ndarray
    width_s: np.ndarray
    ventricular: np.ndarray
    amplitude: float


@lru_cache(maxsize=16)
def _shape_filter(rate_hz: float) -> np.ndarray:
    return signal.butter(2, SHAPE_BAND_HZ, "bandpass", fs=rate_hz, output="sos")


def describe_beats(samples: np.ndarray, rate_hz: float, peaks: np.ndarray) -> Beats:
    """Shape, width and origin of each beat of a window, from its own beats alone."""
    if len(peaks) < 3:
        similarity, to_normal, width_s = np.zeros((3, len(peaks)))
        return Beats(peaks, similarity, to_normal, width_s, np.zeros(len(peaks), dtype=bool), np.inf)
    smooth = signal.sosfiltfilt(_shape_filter(rate_hz), samples)
    rows = _unit_shapes(smooth, rate_hz, peaks)
    widths = _widths(smooth, rate_hz, peaks)
    rr = np.diff(peaks) / rate_hz
    local = _local_median(rr)
    before = np.concatenate(([1.0], rr / local))
    after = np.concatenate((rr / local, [1.0]))
    members, to_family = _families(rows, widths)
    normal = _normal_family(members, before, widths)
    to_normal = to_family[:, normal]
    normal_width = np.median(widths[to_normal >= min(0.9, to_normal.max())])
    ventricular = _ventricular(to_normal, widths / normal_width, after / before)
    reach = np.arange(-round(0.1 * rate_hz), round(0.1 * rate_hz))
    heights = np.ptp(smooth[(peaks[:, None] + reach).clip(0, len(smooth) - 1)], axis=1)
    return Beats(peaks, to_family.max(axis=1), to_normal, widths, ventricular, float(np.median(heights)))


def _ventricular(to_normal: np.ndarray, width: np.ndarray, pause: np.ndarray) -> np.ndarray:
    constant, by_shape, by_width, by_pause = VENTRICULAR_ODDS
    odds = (
        constant
        + by_shape * np.sqrt((1 - to_normal).clip(0, 1.2))
        + by_width * np.log(width).clip(-0.3, 0.8)
        + by_pause * np.log(pause).clip(-0.3, 1.0)
    )
    return odds > np.log(VENTRICULAR_LIMIT / (1 - VENTRICULAR_LIMIT))


def _unit_shapes(smooth: np.ndarray, rate_hz: float, peaks: np.ndarray) -> np.ndarray:
    """Beat x lag x sample: each beat at a few shifts, since the R peak is not always the same wave."""
    step = max(1, round(rate_hz / SHAPE_RATE_HZ))
    offsets = np.arange(-round(SHAPE_S[0] * rate_hz), round(SHAPE_S[1] * rate_hz), step)
    lags = np.arange(-LAGS, LAGS + 1) * step
    rows = smooth[(peaks[:, None, None] + lags[:, None] + offsets).clip(0, len(smooth) - 1)]
    rows = rows - rows.mean(axis=2, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=2, keepdims=True), 1e-9)


def _widths(smooth: np.ndarray, rate_hz: float, peaks: np.ndarray) -> np.ndarray:
    """Time around each peak in which the slope energy stays above a quarter of its maximum, in seconds."""
    slope = np.gradient(smooth)
    length = max(1, round(0.03 * rate_hz))
    energy = np.sqrt(np.convolve(slope * slope, np.ones(length) / length, "same"))
    offsets = np.arange(-round(0.14 * rate_hz), round(0.16 * rate_hz))
    rows = energy[(peaks[:, None] + offsets).clip(0, len(smooth) - 1)]
    return (rows > 0.25 * rows.max(axis=1, keepdims=True)).sum(axis=1) / rate_hz


def _local_median(rr: np.ndarray) -> np.ndarray:
    padded = np.pad(rr, LOCAL_BEATS, mode="symmetric" if len(rr) >= LOCAL_BEATS else "edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * LOCAL_BEATS + 1), axis=1)


def _families(rows: np.ndarray, widths: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Groups of alike beats, the one of the most look-alikes first, and each beat's correlation with each group."""
    centred = rows[:, LAGS]
    same_width = np.abs(np.log(widths[:, None] / widths)) < SAME_WIDTH
    counts = ((centred @ centred.T > SAME_SHAPE) & same_width).astype(int)
    free = np.ones(len(rows), dtype=bool)
    families: list[np.ndarray] = []
    similarity: list[np.ndarray] = []
    while free.any() and len(families) < FAMILIES:
        seed = int(((counts * free).sum(axis=1) * free).argmax())
        to_seed = rows @ centred[seed]
        members = np.flatnonzero((to_seed.max(axis=1) > SAME_SHAPE) & free & same_width[seed])
        if families and len(members) < 3:
            break
        template = rows[members, to_seed[members].argmax(axis=1)].mean(axis=0)
        template /= max(np.linalg.norm(template), 1e-9)
        families.append(members)
        similarity.append((rows @ template).max(axis=1))
        free[members] = False
    return families, np.array(similarity).T


def _normal_family(members: list[np.ndarray], before: np.ndarray, widths: np.ndarray) -> int:
    """The family that is neither early nor wide, among those with enough beats."""
    enough = [k for k, family in enumerate(members) if len(family) >= FAMILY_SHARE * len(before)] or [0]

    def strangeness(k: int) -> float:
        family = members[k]
        return np.median(widths[family]) * (1 + 2 * np.mean(before[family] < EARLY)) / len(family) ** 0.25

    return min(enough, key=strangeness)
