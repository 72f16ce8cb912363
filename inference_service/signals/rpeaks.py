"""R peak detection: band-pass, slope energy, adaptive threshold, search-back (after Pan and Tompkins 1985)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import signal

PASS_BAND_HZ = (5.0, 22.0)  # QRS energy; P and T waves and drift lie below, muscle noise above
ENERGY_WINDOW_S = 0.10  # about one QRS
MIN_S = 1.5
REFRACTORY_S = 0.20  # no ventricle contracts twice in this time
P_WAVE_S, P_RATIO = 0.26, 0.9  # a P wave comes that shortly before, and is less steep than its QRS
T_WAVE_S, T_RATIO = 0.36, 0.5  # a T wave comes that shortly after, later where the heart is slow
T_WAVE_SHARE = 0.25  # of the gap
BLOCK_S, LOCAL_BLOCKS = 1.5, 9  # what a beat is worth here is decided by so many blocks around
FLOOR_SHARE = 0.5
LEAST_BEAT_MV_PER_S = 3.0  # slope energy of a QRS of 0.15 mV, the least that IEC 60601-2-27 asks a monitor to count
LOCAL_BEATS = 8
THRESHOLD = 0.33  # of the local beat energy (amplitude scale)
SEARCH_BACK_THRESHOLD = 0.22
SEARCH_BACK_RR = 1.5  # a gap that long against the local RR is searched again
WINDOW_S, STEP_S, GUARD_S = 30.0, 10.0, 1.0  # beats within the guard of an edge are left to the next window


@lru_cache(maxsize=16)
def _band_pass(rate_hz: float) -> np.ndarray:
    return signal.butter(2, PASS_BAND_HZ, "bandpass", fs=rate_hz, output="sos")


def filter_qrs(samples: np.ndarray, rate_hz: float) -> np.ndarray:
    """Zero-phase band-pass of the QRS complex, in the unit of `samples`."""
    return signal.sosfiltfilt(_band_pass(rate_hz), samples)


def qrs_energy(filtered: np.ndarray, rate_hz: float) -> np.ndarray:
    """Root of the mean squared slope over one QRS, in units per second."""
    slope = np.gradient(filtered) * rate_hz
    width = max(1, round(ENERGY_WINDOW_S * rate_hz))
    return np.sqrt(signal.fftconvolve(slope * slope, np.ones(width) / width, "same").clip(0))


@dataclass(frozen=True)
class Detection:
    """`peaks` are the beats. `activity` is whatever else is as strong as a beat of this window: noise, or beats
    that the detector would not vouch for. All in sample numbers, ascending."""

    peaks: np.ndarray
    activity: np.ndarray
    filtered: np.ndarray


def detect_r_peaks(samples: np.ndarray, rate_hz: float) -> np.ndarray:
    """Sample numbers of the R peaks, ascending; empty when nothing like a beat is there."""
    return detect(samples, rate_hz).peaks


def detect(samples: np.ndarray, rate_hz: float) -> Detection:
    """R peaks of samples in mV without missing values, and what disturbs them."""
    nothing = np.empty(0, dtype=int)
    if len(samples) < MIN_S * rate_hz:
        return Detection(nothing, nothing, samples)
    filtered = filter_qrs(samples, rate_hz)
    energy = qrs_energy(filtered, rate_hz)
    candidates, _ = signal.find_peaks(energy, distance=round(REFRACTORY_S * rate_hz))
    if len(candidates) == 0:
        return Detection(nothing, nothing, filtered)
    heights = energy[candidates]
    typical = _local_beat_height(energy, candidates, rate_hz)
    chosen = heights > THRESHOLD * typical
    chosen = _drop_shadows(candidates, heights, chosen, rate_hz)
    chosen = _search_back(candidates, heights, typical, chosen, rate_hz)
    strong = heights > THRESHOLD * np.median(heights[chosen]) if chosen.any() else chosen
    return Detection(_refine(np.abs(filtered), candidates[chosen], rate_hz), candidates[strong & ~chosen], filtered)


def _local_beat_height(energy: np.ndarray, candidates: np.ndarray, rate_hz: float) -> np.ndarray:
    """What a beat is worth around each candidate: the median of the maxima of the blocks of 1.5 s nearby.

    Never below half of the strong blocks of the window nor below the least QRS, lest a pause be searched for
    ever smaller beats.
    """
    block = round(BLOCK_S * rate_hz)
    blocks = len(energy) // block
    maxima = energy[: blocks * block].reshape(blocks, block).max(axis=1)
    floor = max(LEAST_BEAT_MV_PER_S, FLOOR_SHARE * np.percentile(maxima, 75))
    if blocks <= LOCAL_BLOCKS:
        return np.full(len(candidates), max(np.median(maxima), floor))
    padded = np.pad(maxima, LOCAL_BLOCKS // 2, mode="reflect")
    local = np.median(np.lib.stride_tricks.sliding_window_view(padded, LOCAL_BLOCKS), axis=1)
    return np.maximum(local[np.minimum(candidates // block, blocks - 1)], floor)


def _drop_shadows(candidates: np.ndarray, heights: np.ndarray, chosen: np.ndarray, rate_hz: float) -> np.ndarray:
    """Leave out P and T waves: a candidate that stands close to one twice as steep."""
    index = np.flatnonzero(chosen)
    at, high = candidates[index] / rate_hz, heights[index]
    shadow = np.zeros(len(index), dtype=bool)
    for shift in (1, 2):
        gap = at[shift:] - at[:-shift]
        shadow[shift:] |= (gap < T_WAVE_S) & (high[shift:] < T_RATIO * high[:-shift])
        shadow[:-shift] |= (gap < P_WAVE_S) & (high[:-shift] < P_RATIO * high[shift:])
    kept = chosen.copy()
    kept[index[shadow]] = False
    return kept


def _search_back(
    candidates: np.ndarray, heights: np.ndarray, typical: np.ndarray, chosen: np.ndarray, rate_hz: float
) -> np.ndarray:
    """Look again, with a lower threshold, into gaps that are long against the beats around them."""
    index = np.flatnonzero(chosen)
    if len(index) < 3:
        return chosen
    found = chosen.copy()
    rr = np.diff(candidates[index])
    for k, gap in enumerate(rr):
        local_rr = np.median(rr[max(0, k - LOCAL_BEATS) : k + LOCAL_BEATS + 1])
        if gap <= SEARCH_BACK_RR * local_rr:
            continue
        between = np.arange(index[k] + 1, index[k + 1])
        after_t_wave = max(T_WAVE_S * rate_hz, T_WAVE_SHARE * gap)
        far = (candidates[between] - candidates[index[k]] > after_t_wave) & (
            candidates[index[k + 1]] - candidates[between] > REFRACTORY_S * rate_hz
        )
        between = between[far & (heights[between] > SEARCH_BACK_THRESHOLD * typical[between])]
        if len(between):
            found[between[np.argmax(heights[between])]] = True
    return found


def _refine(magnitude: np.ndarray, peaks: np.ndarray, rate_hz: float) -> np.ndarray:
    """Move each energy peak to the greatest deflection within half a QRS."""
    reach = round(ENERGY_WINDOW_S * rate_hz * 0.75)
    offsets = np.arange(-reach, reach + 1)
    around = (peaks[:, None] + offsets).clip(0, len(magnitude) - 1)
    return np.unique(around[np.arange(len(peaks)), magnitude[around].argmax(axis=1)])


def detect_sliding(samples: np.ndarray, rate_hz: float) -> np.ndarray:
    """R peaks of a long recording as the service sees them: overlapping windows, each trusted between its guards."""
    found = [np.empty(0, dtype=int)]
    for start, stop, trusted_from, trusted_to in sliding(len(samples), rate_hz):
        peaks = detect_r_peaks(samples[start:stop], rate_hz) + start
        found.append(peaks[(peaks >= trusted_from) & (peaks < trusted_to)])
    peaks = np.concatenate(found)
    return peaks[np.diff(peaks, prepend=-np.inf) >= REFRACTORY_S * rate_hz]


def sliding(
    length: int, rate_hz: float, window_s: float = WINDOW_S, step_s: float = STEP_S, guard_s: float = GUARD_S
) -> Iterator[tuple[int, int, int, int]]:
    """(start, stop, trusted from, trusted to) in samples; the trusted spans follow each other without a gap."""
    window, step, guard = (round(seconds * rate_hz) for seconds in (window_s, step_s, guard_s))
    trusted_to = 0
    stop = min(window, length)
    while trusted_to < length:
        trusted_from, trusted_to = trusted_to, length if stop == length else stop - guard
        yield max(0, stop - window), stop, trusted_from, trusted_to
        stop = min(stop + step, length)
