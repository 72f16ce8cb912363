"""Vital signs of a simulated patient: slow drift, residuals, injected episodes, artefacts and gaps.

The truth is the noise-free value: an episode lasts while that value is beyond its limit. One seed, one patient.
"""

from dataclasses import dataclass, field

import numpy as np

BASELINES = {  # mean, standard deviation between patients, slow drift, residual, correlation time of the residual in s
    "SpO2": (96.5, 0.7, 0.6, 0.5, 20.0),
    "HR": (76.0, 8.0, 5.0, 1.5, 10.0),
    "RESP": (15.0, 1.2, 1.0, 0.8, 20.0),
    "TEMP": (36.8, 0.15, 0.1, 0.03, 60.0),
}
UNITS = {"SpO2": "%", "HR": "/min", "RESP": "/min", "TEMP": "°C"}
DIGITS = {"TEMP": 1}
LIMITS = {"desaturation": ("SpO2", "<=", 90.0), "tachycardia": ("HR", ">=", 111.0), "fever": ("TEMP", ">=", 38.1)}
DEPTHS = {"desaturation": (82.0, 87.5), "tachycardia": (118.0, 150.0), "fever": (38.4, 39.8)}
RAMPS_S = {"desaturation": 30.0, "tachycardia": 30.0, "fever": 1800.0}


@dataclass(frozen=True)
class Episode:
    """While the noise-free value is beyond the limit; seconds from the start."""

    kind: str
    onset_s: float
    end_s: float


@dataclass
class Vitals:
    """Signals sampled once a second, as a monitor shows them; missing samples are NaN."""

    measured: dict[str, np.ndarray]
    noise_free: dict[str, np.ndarray]
    episodes: list[Episode] = field(default_factory=list)


def simulate_vitals(
    seed: int,
    hours: float = 24.0,
    episodes: dict[str, int] | None = None,
    artefacts_per_hour: float = 6.0,
    gaps_per_hour: float = 1.0,
) -> Vitals:
    """A patient's vital signs. `episodes` counts those to inject by kind (desaturation, tachycardia, fever)."""
    random = np.random.default_rng(seed)
    length = round(hours * 3600)
    clean = {name: _slow(random, length, *row[:3]) for name, row in BASELINES.items()}
    clean["SpO2"] = np.clip(clean["SpO2"], 93.5, 99.0)
    clean["HR"] = np.clip(clean["HR"], 50.0, 102.0)
    for kind, count in (episodes or {}).items():
        _inject(random, clean, kind, count)
    measured = {}
    for name, values in clean.items():
        noisy = values + _residual(random, length, *BASELINES[name][3:])
        if name in ("SpO2", "HR"):
            _disturb(random, noisy, name, artefacts_per_hour, gaps_per_hour)
        measured[name] = np.round(noisy, DIGITS.get(name, 0))
    measured["SpO2"] = np.minimum(measured["SpO2"], 100)
    return Vitals(measured, clean, [found for kind in LIMITS for found in _label(clean, kind)])


def simulate_rr(seed: int, minutes: float, rate: float = 75.0, fibrillation: bool = False) -> np.ndarray:
    """Beat times in seconds: sinus rhythm with breathing and slow waves, or the memoryless intervals of AF."""
    random = np.random.default_rng(seed)
    count = round(minutes * rate * 1.3)
    mean = 60 / rate
    if fibrillation:
        intervals = mean * (0.45 + random.gamma(5.0, 0.11, count))
    else:
        beat = np.arange(count)
        intervals = mean * (1 + 0.03 * np.sin(2 * np.pi * beat / 5) + 0.02 * np.sin(2 * np.pi * beat / 12))
        intervals = intervals + random.normal(0, 0.008, count)
    times = np.cumsum(intervals)
    return times[times < minutes * 60]


def simulate_ecg(beats_s: np.ndarray, seconds: float, rate_hz: float = 250.0, seed: int = 0) -> np.ndarray:
    """An ECG in mV with P, QRS and T at the given beats, and noise; P and T come closer in a fast rhythm (Bazett)."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    ecg = 0.1 * np.sin(2 * np.pi * 0.2 * time) + random.normal(0, 0.015, len(time))
    intervals = np.diff(beats_s, append=beats_s[-1:] + 1.0)
    before = np.concatenate((intervals[:1], intervals[:-1]))
    for beat, ahead, past in zip(beats_s, intervals, before, strict=True):
        near = slice(max(0, round((beat - 0.4) * rate_hz)), max(0, round((beat + 0.6) * rate_hz)))
        t_wave, p_wave = np.sqrt(min(ahead, 1.0)), min(past / 0.8, 1.0)
        for offset, height, width in (
            (-0.16 * p_wave, 0.12, 0.025 * p_wave),
            (-0.025, -0.12, 0.010),
            (0.0, 1.1, 0.012),
            (0.03, -0.22, 0.012),
            (0.26 * t_wave, 0.28, 0.05 * t_wave),
        ):
            ecg[near] += height * np.exp(-0.5 * ((time[near] - beat - offset) / width) ** 2)
    return ecg


def _slow(random: np.random.Generator, length: int, mean: float, between: float, drift: float) -> np.ndarray:
    time = np.arange(length)
    values = np.full(length, mean + random.normal(0, between))
    for period_s in (900, 3600, 14400):
        values += drift / 3 * np.sin(2 * np.pi * (time / (period_s * random.uniform(0.8, 1.25)) + random.uniform()))
    return values


def _residual(random: np.random.Generator, length: int, deviation: float, correlation_s: float) -> np.ndarray:
    """First-order autoregressive noise."""
    from scipy.signal import lfilter

    keep = np.exp(-1 / correlation_s)
    return lfilter([deviation * np.sqrt(1 - keep**2)], [1, -keep], random.normal(size=length))


def _inject(random: np.random.Generator, clean: dict[str, np.ndarray], kind: str, count: int) -> None:
    signal, _, _ = LIMITS[kind]
    values = clean[signal]
    slot = len(values) // max(count, 1)
    for number in range(count):
        ramp = round(RAMPS_S[kind] * random.uniform(0.7, 1.3))
        hold = round(random.uniform(60, 240)) if kind != "fever" else round(random.uniform(3600, 7200))
        start = number * slot + round(random.uniform(0.1, 0.6) * slot)
        length = min(2 * ramp + hold, len(values) - start)
        shape = np.interp(np.arange(length), [0, ramp, ramp + hold, 2 * ramp + hold], [0, 1, 1, 0])
        target = random.uniform(*DEPTHS[kind])
        part = slice(start, start + length)
        values[part] += shape * (target - values[part])


def _disturb(random: np.random.Generator, values: np.ndarray, name: str, artefacts: float, gaps: float) -> None:
    """Movement artefacts of 2 to 8 s with wild values, and gaps of 5 s to 2 min."""
    hours = len(values) / 3600
    for _ in range(random.poisson(artefacts * hours)):
        start, length = random.integers(len(values)), random.integers(2, 9)
        wild = random.uniform(65, 89) if name == "SpO2" else random.uniform(115, 190)
        values[start : start + length] = wild
    for _ in range(random.poisson(gaps * hours)):
        start, length = random.integers(len(values)), random.integers(5, 121)
        values[start : start + length] = np.nan


def _label(clean: dict[str, np.ndarray], kind: str) -> list[Episode]:
    signal, comparison, limit = LIMITS[kind]
    beyond = clean[signal] <= limit if comparison == "<=" else clean[signal] >= limit
    edges = np.flatnonzero(np.diff(beyond.astype(int), prepend=0, append=0))
    return [Episode(kind, float(a), float(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
