"""National Early Warning Score 2 (Royal College of Physicians, 2017), reproduced with acknowledgement.

Not for people under 16 years or pregnant.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass

# For each parameter: (value from which the score holds, score), ascending; readings are rounded as the chart is.
RESPIRATION = ((0, 3), (9, 1), (12, 0), (21, 2), (25, 3))
SPO2_SCALE_1 = ((0, 3), (92, 2), (94, 1), (96, 0))
SPO2_SCALE_2_AIR = ((0, 3), (84, 2), (86, 1), (88, 0))
SPO2_SCALE_2_OXYGEN = ((0, 3), (84, 2), (86, 1), (88, 0), (93, 1), (95, 2), (97, 3))
SYSTOLIC = ((0, 3), (91, 2), (101, 1), (111, 0), (220, 3))
PULSE = ((0, 3), (41, 1), (51, 0), (91, 1), (111, 2), (131, 3))
TEMPERATURE_TENTHS = ((0, 3), (351, 1), (361, 0), (381, 1), (391, 2))
CONSCIOUSNESS = {"A": 0, "C": 3, "V": 3, "P": 3, "U": 3}  # alert, new confusion, voice, pain, unresponsive
OXYGEN = {False: 0, True: 2}
PARAMETERS = ("respiration", "spo2", "oxygen", "systolic", "pulse", "consciousness", "temperature")


@dataclass(frozen=True)
class Score:
    """`total` is the sum of what is known, so a partial score is a lower bound, never a reassurance."""

    total: int
    parts: dict[str, int]
    missing: tuple[str, ...]

    @property
    def partial(self) -> bool:
        return bool(self.missing)

    @property
    def single(self) -> int:
        """The greatest score of one parameter."""
        return max(self.parts.values(), default=0)


def score_news2(
    *,
    respiration: float | None = None,
    spo2: float | None = None,
    oxygen: bool | None = None,
    systolic: float | None = None,
    pulse: float | None = None,
    consciousness: str | None = None,
    temperature: float | None = None,
    spo2_scale: int = 1,
) -> Score:
    """Score what is given: /min, %, whether oxygen is given, mmHg, /min, one of A C V P U, °C.

    On scale 2 an SpO2 of 93 or more depends on oxygen: with oxygen unknown SpO2 is missing there.
    Raises ValueError for an unknown scale or consciousness, and for a reading that is negative or not a number.
    """
    if spo2_scale not in (1, 2):
        raise ValueError(f"SpO2 scale {spo2_scale}: 1 or 2")
    if consciousness is not None and consciousness not in CONSCIOUSNESS:
        raise ValueError(f"consciousness {consciousness!r}: one of {' '.join(CONSCIOUSNESS)}")
    parts = {
        "respiration": _band(RESPIRATION, respiration),
        "spo2": _spo2(spo2, oxygen, spo2_scale),
        "oxygen": None if oxygen is None else OXYGEN[oxygen],
        "systolic": _band(SYSTOLIC, systolic),
        "pulse": _band(PULSE, pulse),
        "consciousness": None if consciousness is None else CONSCIOUSNESS[consciousness],
        "temperature": _band(TEMPERATURE_TENTHS, None if temperature is None else temperature * 10),
    }
    known = {name: part for name, part in parts.items() if part is not None}
    return Score(sum(known.values()), known, tuple(name for name in PARAMETERS if name not in known))


def _band(bands: tuple[tuple[int, int], ...], value: float | None) -> int | None:
    if value is None:
        return None
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"reading {value}")
    rounded = math.floor(round(value, 6) + 0.5)  # half up, as people round; 6 digits undo 38.05 * 10 = 380.49...
    return bands[bisect_right(bands, rounded, key=lambda band: band[0]) - 1][1]


def _spo2(value: float | None, oxygen: bool | None, scale: int) -> int | None:
    if scale == 1:
        return _band(SPO2_SCALE_1, value)
    on_air, on_oxygen = _band(SPO2_SCALE_2_AIR, value), _band(SPO2_SCALE_2_OXYGEN, value)
    if oxygen is None:
        return on_air if on_air == on_oxygen else None
    return on_oxygen if oxygen else on_air
