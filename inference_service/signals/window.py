"""A window of samples and its units."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

UNIT_NAMES = {
    "mv": "mV", "uv": "uV", "µv": "uV", "μv": "uV", "v": "V",
    "bpm": "/min", "/min": "/min", "1/min": "/min", "breaths/min": "/min", "beats/min": "/min",
    "%": "%", "mmhg": "mmHg", "mm[hg]": "mmHg", "kpa": "kPa",
    "°c": "°C", "c": "°C", "cel": "°C", "degc": "°C", "°f": "°F", "f": "°F", "degf": "°F", "[degf]": "°F",
}  # fmt: skip
CONVERSIONS = {  # (from, to): (factor, offset)
    ("uV", "mV"): (0.001, 0.0),
    ("V", "mV"): (1000.0, 0.0),
    ("kPa", "mmHg"): (7.50062, 0.0),
    ("°F", "°C"): (5 / 9, -160 / 9),
}


@dataclass(frozen=True, eq=False)
class Window:
    """Evenly spaced samples of one channel; a missing sample is NaN. `started_at` is the time of the first one, UTC.

    `channel` tells leads of an ECG apart, and `systolic`, `diastolic`, `mean` of a blood pressure.
    """

    signal: str
    unit: str
    sample_rate_hz: float
    started_at: datetime
    samples: np.ndarray
    channel: str = ""

    def __post_init__(self) -> None:
        if not self.sample_rate_hz > 0:
            raise ValueError(f"sample rate {self.sample_rate_hz} Hz")
        if self.started_at.tzinfo is None:
            raise ValueError("a window starts at a time with a zone")

    @property
    def ended_at(self) -> datetime:
        """The moment just after the last sample."""
        return self.started_at + timedelta(seconds=len(self.samples) / self.sample_rate_hz)

    def latest(self) -> tuple[float, datetime] | None:
        """The last sample that is not missing, and its time."""
        present = np.flatnonzero(np.isfinite(self.samples))
        if len(present) == 0:
            return None
        at = self.started_at + timedelta(seconds=int(present[-1]) / self.sample_rate_hz)
        return float(self.samples[present[-1]]), at

    def to_unit(self, unit: str) -> "Window":
        """The same window in another unit; raises ValueError where the two do not measure the same."""
        own = UNIT_NAMES.get(self.unit.strip().lower(), self.unit)
        if own == unit:
            return self if self.unit == unit else replace(self, unit=unit)
        if (own, unit) not in CONVERSIONS:
            raise ValueError(f"{self.signal} in {self.unit}, expected {unit}")
        factor, offset = CONVERSIONS[own, unit]
        return replace(self, unit=unit, samples=np.asarray(self.samples) * factor + offset)
