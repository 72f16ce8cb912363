"""The latest value of each vital sign out of the windows of a patient."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from inference_service.builtin.model import Model
from inference_service.signals.window import Window


@dataclass(frozen=True)
class Reading:
    """A value in the model's unit; `fresh` while it is no older than the input's maximum age."""

    value: float
    at: datetime
    fresh: bool


def latest_readings(model: Model, windows: Iterable[Window], at: datetime) -> dict[str, Reading]:
    """The newest reading of each input, by signal, or `BP.systolic` where the input has a channel.

    Samples later than `at` do not count. Raises ValueError for a unit that does not fit.
    """
    found: dict[str, Reading] = {}
    for window in windows:
        wanted = model.input_for(window.signal, window.channel)
        if wanted is None:
            continue
        last = window.to_unit(wanted.unit).latest()
        key = f"{wanted.signal}.{wanted.channel}" if wanted.channel else wanted.signal
        if last is None or last[1] > at or (key in found and found[key].at >= last[1]):
            continue
        found[key] = Reading(*last, (at - last[1]).total_seconds() <= wanted.max_age_s)
    return found


def evaluation_time(windows: Iterable[Window]) -> datetime:
    """The end of the latest window: data time, not the clock's. Raises ValueError without a window."""
    return max(window.ended_at for window in windows)
