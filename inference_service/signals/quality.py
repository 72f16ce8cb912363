"""Signal quality of an ECG window: flat, clipped or missing samples, beats alike, two detectors agreeing."""

from dataclasses import dataclass

import numpy as np
from scipy import signal

from inference_service.signals.rpeaks import REFRACTORY_S

AGREEMENT_S = 0.15  # EC57's tolerance for one beat
FLAT_S = 1.0  # samples that stay equal that long come from a lead that is off, not from a heart
RANGE_MV = 10.0  # twice what IEC 60601-2-27 asks of a monitor
BASELINE_S, RECOVERY_S = 0.6, 3.0


@dataclass(frozen=True)
class Quality:
    """Each 0..1, 1 best. `usable`: share of samples that are there, in range and not flat. `alike`: how well the
    beats correlate with their family's template. `agreement`: F1 of two detectors."""

    usable: float
    alike: float
    agreement: float

    @property
    def index(self) -> float:
        return min(self.usable, self.alike)


def usable_samples(samples: np.ndarray, rate_hz: float) -> np.ndarray:
    """True where a sample (mV) is there, within the amplifier's range, and not part of a flat or clipped run."""
    present = np.isfinite(samples)
    if not present.any():
        return present
    in_range = np.abs(samples - np.nanmedian(samples)) <= RANGE_MV
    run = max(2, round(FLAT_S * rate_hz))
    still = np.diff(samples, prepend=samples[:1]) == 0
    starts = np.convolve(still, np.ones(run), "valid") >= run
    flat = np.convolve(starts, np.ones(run), "full")[: len(samples)] > 0
    return present & in_range & ~flat


def disturbed_samples(samples: np.ndarray, rate_hz: float, beat_mv: float) -> np.ndarray:
    """True where the baseline strays by more than a beat's amplitude, and while the amplifier recovers from it."""
    width = round(BASELINE_S * rate_hz)
    baseline = np.convolve(np.pad(samples, width // 2, mode="edge"), np.ones(width) / width, "valid")[: len(samples)]
    astray = np.abs(baseline - np.median(baseline)) > beat_mv
    if not astray.any():
        return astray
    recovery = round(RECOVERY_S * rate_hz)
    return np.convolve(astray, np.ones(recovery), "full")[: len(samples)] > 0


def second_detector(filtered: np.ndarray, rate_hz: float) -> np.ndarray:
    """R peaks by amplitude alone: independent enough of the slope detector to disagree in noise."""
    magnitude = np.abs(filtered)
    second = round(rate_hz * 1.5)
    blocks = len(magnitude) // second
    if blocks == 0:
        return np.empty(0, dtype=int)
    typical = np.median(magnitude[: blocks * second].reshape(blocks, second).max(axis=1))
    peaks, _ = signal.find_peaks(magnitude, height=0.4 * typical, distance=round(REFRACTORY_S * rate_hz))
    return peaks


def agreement(first: np.ndarray, second: np.ndarray, rate_hz: float) -> float:
    """F1 of two sets of peaks within EC57's tolerance; 1 when both are empty."""
    if len(first) == 0 or len(second) == 0:
        return float(len(first) == len(second))
    right = np.searchsorted(second, first).clip(1, len(second) - 1) if len(second) > 1 else np.zeros(len(first), int)
    near = np.minimum(np.abs(second[right] - first), np.abs(second[np.maximum(right - 1, 0)] - first))
    matched = int(np.count_nonzero(near <= AGREEMENT_S * rate_hz))
    return 2 * matched / (len(first) + len(second))
