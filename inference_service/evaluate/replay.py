"""Runs a recording through a model and the episode machine, as the service does, in data time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np

from inference_service.builtin import ecg_rhythm
from inference_service.builtin.limits import Limit, limits_for
from inference_service.builtin.model import Outcome, PatientContext
from inference_service.episodes import Transition, advance, initial_state
from inference_service.signals.window import Window

START = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass
class Replay:
    """Episode machines of one patient, fed window by window."""

    limits: Sequence[Limit]
    events: Sequence[str]
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=count)

    def feed(self, outcome: Outcome, at: datetime) -> tuple[Transition, ...]:
        changes: tuple[Transition, ...] = ()
        for event in self.events:
            self.states[event], found = advance(
                self.states.get(event) or initial_state(),
                event,
                outcome,
                self.limits,
                ended_at=at,
                now=at,
                new_id=lambda: str(next(self._ids)),
            )
            changes += found
        self.transitions += changes
        return changes

    def alarms(self, event: str, until: datetime) -> list[tuple[float, float]]:
        """(opened, closed) in seconds from the start; one that is still open closes at the end."""
        spans: list[tuple[float, float]] = []
        for change in (t for t in self.transitions if t.event_type == event):
            at = (change.at - START).total_seconds()
            if change.kind == "open":
                spans.append((at, (until - START).total_seconds()))
            elif change.kind == "close":
                spans[-1] = (spans[-1][0], at)
        return spans


def only(limits: Sequence[Limit], *conditions: str) -> tuple[Limit, ...]:
    """The rows of some conditions, to measure each alone."""
    return tuple(row for row in limits if row.condition in conditions)


def ecg_windows(
    leads: np.ndarray, names: Sequence[str], rate_hz: float, step_s: float | None = None
) -> Iterator[tuple[list[Window], float]]:
    """Windows of a recording (samples x leads, mV) and the seconds at which each ends."""
    model = ecg_rhythm.MODEL
    length = min(round(model.window_s * rate_hz), len(leads))
    for stop in range(length, len(leads) + 1, round((step_s or model.step_s) * rate_hz)):
        at = START + timedelta(seconds=(stop - length) / rate_hz)
        part = leads[stop - length : stop]
        yield [Window("ECG", "mV", rate_hz, at, part[:, i], name) for i, name in enumerate(names)], stop / rate_hz


def ecg_replay(conditions: Sequence[str] = (), context: PatientContext | None = None) -> Replay:
    """The episode machines of the ECG model, of all its conditions or of some alone."""
    limits = limits_for(ecg_rhythm.MODEL.limits, context or PatientContext())
    return Replay(only(limits, *conditions) if conditions else limits, ecg_rhythm.MODEL.events)
