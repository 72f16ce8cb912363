"""The episode state machine of one patient and event type: idle, pending, active, clearing.

A pure function of data time. The state is a JSON object that the caller stores; a window that was already seen, or
that comes after a later one, changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from inference_service.builtin.limits import Limit
from inference_service.builtin.model import Finding, Level, Outcome

OPENS_FROM = Level.MEDIUM  # lower levels are recorded as inferences and page nobody
STALE_AFTER = timedelta(seconds=120)  # data older than that is caught up, not live (choice)

State = dict[str, Any]


@dataclass(frozen=True)
class Transition:
    """What the outside is told. `stale`: the data are too old for a live alarm. `key` is the same at every replay."""

    kind: str  # open, escalate, close
    event_type: str
    episode_id: str
    level: Level
    at: datetime
    key: str
    finding: Finding | None
    stale: bool


def initial_state() -> State:
    """No episode, nothing pending."""
    return {"phase": "idle", "episode_id": None, "level": None, "opened_at": None, "sequence": 0, "latches": {}}


def advance(
    state: State,
    event_type: str,
    outcome: Outcome,
    limits: Sequence[Limit],
    *,
    ended_at: datetime,
    now: datetime,
    new_id: Callable[[], str],
) -> tuple[State, tuple[Transition, ...]]:
    """The state after one window that ended at `ended_at` (data time), and what changed by it.

    Conditions without a finding were not judged: they keep their state. `limits` are all rows that feed this state,
    those of the patient (`limits_for`). `new_id` is called once an episode.
    """
    latches = {key: dict(latch) for key, latch in state["latches"].items()}
    findings = {f.condition: f for f in outcome.findings if f.event_type == event_type}
    rows = [row for row in limits if row.event_type == event_type and row.level >= OPENS_FROM and row.enabled]
    for row in rows:
        finding = findings.get(row.condition)
        if finding is not None:
            key = f"{row.condition}:{row.level.name.lower()}"
            latches[key] = _latch(latches.get(key), row, finding, finding.at or ended_at)
    latches = _forget_rows_without_a_limit(latches, rows)
    return _settle({**state, "latches": latches}, event_type, findings, ended_at, now, new_id)


def _latch(latch: dict[str, Any] | None, row: Limit, finding: Finding, at: datetime) -> dict[str, Any]:
    """One limit's on-delay and off-delay. `since` is when the present evidence for a change began."""
    latch = latch or {"on": False, "since": None, "readings": 0, "seen": None}
    seen = _time(latch["seen"])
    if seen is not None and at <= seen:
        return latch
    crossed = finding.level is not None and finding.level >= row.level
    held = crossed or (finding.holds is not None and finding.holds >= row.level)
    towards_change = not held if latch["on"] else crossed
    if not towards_change:
        return {**latch, "since": None, "readings": 0, "seen": _text(at)}
    interrupted = seen is None or (at - seen).total_seconds() > row.gap_s
    since = at if latch["since"] is None or interrupted else datetime.fromisoformat(latch["since"])
    readings = 1 if since == at else latch["readings"] + 1
    wait = row.clears_s if latch["on"] else row.persists_s
    enough = latch["on"] or readings >= row.persists_readings
    if enough and (at - since).total_seconds() >= wait:
        return {"on": not latch["on"], "since": None, "readings": 0, "seen": _text(at)}
    return {**latch, "since": _text(since), "readings": readings, "seen": _text(at)}


def _forget_rows_without_a_limit(latches: dict[str, Any], rows: Sequence[Limit]) -> dict[str, Any]:
    """A limit that was muted or removed cannot keep an episode open."""
    known = {f"{row.condition}:{row.level.name.lower()}" for row in rows}
    return {key: latch for key, latch in latches.items() if key in known}


def _settle(
    state: State,
    event_type: str,
    findings: dict[str, Finding],
    at: datetime,
    now: datetime,
    new_id: Callable[[], str],
) -> tuple[State, tuple[Transition, ...]]:
    """Compare the latches with the episode and tell the difference; a lower level is no news until the close."""
    on = {key: latch for key, latch in state["latches"].items() if latch["on"]}
    pending = any(latch["since"] and not latch["on"] for latch in state["latches"].values())
    level = max((Level[key.rpartition(":")[2].upper()] for key in on), default=None)
    before = None if state["level"] is None else Level(state["level"])
    clearing = bool(on) and all(latch["since"] for latch in on.values())
    phase = "clearing" if clearing else "active" if on else "pending" if pending else "idle"
    after = {**state, "phase": phase, "level": None if level is None else int(level)}
    if level is not None and (before is None or level > before):
        kind, told = "open" if before is None else "escalate", level
    elif level is None and before is not None:
        kind, told = "close", before
    else:
        return after, ()
    if kind == "open":
        after.update(episode_id=new_id(), opened_at=_text(at), sequence=0)
    after["sequence"] += 1
    causes = [f for f in findings.values() if f.level is not None and f.level >= told]
    cause = max(causes, key=lambda f: (f.level, f.score - f.threshold), default=None) if kind != "close" else None
    key = f"{after['episode_id']}:{after['sequence']}:{kind}"
    change = Transition(kind, event_type, after["episode_id"], told, at, key, cause, now - at > STALE_AFTER)
    if kind == "close":
        after.update(episode_id=None, opened_at=None)
    return after, (change,)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _text(at: datetime) -> str:
    return at.isoformat()
