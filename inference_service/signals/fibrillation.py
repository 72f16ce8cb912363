"""Ventricular fibrillation and flutter: the signal is a sine of changing period, without beats."""

from functools import lru_cache

import numpy as np
from scipy import signal

BAND_HZ = (1.0, 30.0)
SEGMENT_S, STEP_S = 4.0, 1.0
MAX_LEAKAGE = 0.45  # Jekova 2000 uses 0.41 for low, 0.63 for high amplitudes, without the second criterion
MIN_FILLED = 0.4  # narrow complexes fill less
MIN_AMPLITUDE_MV = 0.2  # below, fine fibrillation cannot be told from asystole


@lru_cache(maxsize=16)
def _band_pass(rate_hz: float) -> np.ndarray:
    return signal.butter(2, BAND_HZ, "bandpass", fs=rate_hz, output="sos")


def leakage(segment: np.ndarray) -> float:
    """VF filter leakage (Kuo and Dillman 1978): what is left after adding the signal half a mean period later.

    0 for a pure sine, near 1 for narrow QRS complexes.
    """
    change = np.abs(np.diff(segment)).sum()
    if change == 0:
        return 1.0
    half_period = int(np.pi * np.abs(segment[1:]).sum() / change + 0.5)
    if not 1 <= half_period < len(segment):
        return 1.0
    later, now = segment[half_period:], segment[:-half_period]
    return float(np.abs(later + now).sum() / (np.abs(later) + np.abs(now)).sum())


def filled_share(segment: np.ndarray) -> float:
    """Share of samples above a fifth of the maximum (threshold crossing sample count, Arafat and others 2011)."""
    magnitude = np.abs(segment)
    return float(np.mean(magnitude > 0.2 * magnitude.max())) if len(segment) and magnitude.max() > 0 else 0.0


def longest_s(samples: np.ndarray, rate_hz: float, recent_s: float) -> float:
    """Seconds of the longest stretch of fibrillation that ends within the last `recent_s`; 0 when there is none."""
    length, step = round(SEGMENT_S * rate_hz), round(STEP_S * rate_hz)
    if len(samples) < length:
        return 0.0
    smooth = signal.sosfiltfilt(_band_pass(rate_hz), samples)
    longest = current = 0
    for stop in range(len(smooth) - step, max(length, len(smooth) - round(recent_s * rate_hz)) - 1, -step):
        segment = smooth[stop - length : stop]
        current = current + 1 if is_fibrillation(segment) else 0
        longest = max(longest, current)
    return SEGMENT_S + (longest - 1) * STEP_S if longest else 0.0


def is_fibrillation(segment: np.ndarray) -> bool:
    """Whether a filtered segment (mV) is a sine that fills the time, strong enough to be told from asystole."""
    return (
        np.ptp(segment) >= MIN_AMPLITUDE_MV and leakage(segment) <= MAX_LEAKAGE and filled_share(segment) >= MIN_FILLED
    )
