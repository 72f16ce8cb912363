"""The episode machine: delays, escalation, hysteresis, duplicates, gaps, and that its state survives JSON."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_service.builtin.limits import Limit
from inference_service.builtin.model import Finding, Level, Outcome, Status
from inference_service.episodes import advance, initial_state

AT = datetime(2024, 5, 1, tzinfo=UTC)
LOW, MEDIUM, HIGH, CRITICAL = Level
LIMITS = (
    Limit("DESAT", "spo2", MEDIUM, "spo2", "<=", 90, persists_s=15, clears_s=30),
    Limit("DESAT", "spo2", HIGH, "spo2", "<=", 88, persists_s=15, clears_s=30),
    Limit("DESAT", "spo2", CRITICAL, "spo2", "<=", 85, clears_s=30),
)
CUFF = (Limit("DESAT", "spo2", MEDIUM, "spo2", "<=", 90, persists_readings=2, gap_s=7200),)


class Machine:
    def __init__(self, limits=LIMITS):
        self.limits, self.state, self.ids = limits, initial_state(), count(1)

    def see(self, second, level=None, holds=None, *, delay_s=0, at=None, judged=True):
        finding = Finding("DESAT", level, 0.5, 0.5, {}, "spo2", holds if holds is not None else level, at)
        outcome = Outcome(Status.OK, (finding,)) if judged else Outcome(Status.ABSTAIN)
        ended_at = AT + timedelta(seconds=second)
        self.state, told = advance(
            json.loads(json.dumps(self.state)), "DESAT", outcome, self.limits,
            ended_at=ended_at, now=ended_at + timedelta(seconds=delay_s), new_id=lambda: f"episode-{next(self.ids)}",
        )  # fmt: skip
        return [(t.kind, t.level) for t in told]

    def see_each(self, seconds, *args, **kwargs):
        return [(s, *told) for s in seconds for told in self.see(s, *args, **kwargs)]


def test_it_opens_only_after_the_limit_was_crossed_long_enough():
    machine = Machine()
    assert machine.see_each(range(0, 15), MEDIUM) == []
    assert machine.state["phase"] == "pending"
    assert machine.see(15, MEDIUM) == [("open", MEDIUM)]
    assert (machine.state["phase"], machine.state["episode_id"]) == ("active", "episode-1")


def test_a_value_back_in_between_starts_the_delay_anew():
    machine = Machine()
    machine.see_each(range(0, 14), MEDIUM)
    machine.see(14, None, holds=MEDIUM)
    assert machine.see_each(range(15, 40), MEDIUM) == [(30, "open", MEDIUM)]


def test_it_escalates_once_in_the_same_episode_and_a_fall_is_no_news():
    machine = Machine()
    machine.see_each(range(0, 20), MEDIUM)
    assert machine.see(20, CRITICAL) == [("escalate", CRITICAL)]
    assert machine.see_each(range(21, 30), CRITICAL) == []
    assert machine.see_each(range(30, 80), MEDIUM) == []
    assert (machine.state["level"], machine.state["episode_id"]) == (MEDIUM, "episode-1")
    assert machine.see(80, CRITICAL) == [("escalate", CRITICAL)]


def test_it_closes_after_the_clearing_time_and_not_while_held():
    machine = Machine()
    machine.see_each(range(0, 20), MEDIUM)
    assert machine.see_each(range(20, 100), None, holds=MEDIUM) == []
    assert machine.see_each(range(100, 129), None) == []
    assert machine.state["phase"] == "clearing"
    assert machine.see_each(range(129, 140), None) == [(130, "close", MEDIUM)]
    assert (machine.state["phase"], machine.state["episode_id"]) == ("idle", None)


def test_the_next_episode_has_a_new_id_and_every_key_is_different():
    machine, keys = Machine(), []
    for start in (0, 1000):
        for second, level in ((0, CRITICAL), (10, None), (40, None)):
            outcome = Outcome(Status.OK, (Finding("DESAT", level, 0.5, 0.5, {}, "spo2", level),))
            ended_at = AT + timedelta(seconds=start + second)
            machine.state, told = advance(
                machine.state,
                "DESAT",
                outcome,
                LIMITS,
                ended_at=ended_at,
                now=ended_at,
                new_id=lambda: str(next(machine.ids)),
            )
            keys += [t.key for t in told]
    assert keys == ["1:1:open", "1:2:close", "2:1:open", "2:2:close"]


def test_what_is_not_judged_neither_ends_nor_starts_anything():
    machine = Machine()
    machine.see(0, CRITICAL)
    assert machine.see_each(range(1, 600), judged=False) == []
    assert machine.state["phase"] == "active"


def test_evidence_from_before_a_long_gap_does_not_count():
    machine = Machine()
    machine.see_each(range(0, 10), MEDIUM)
    assert machine.see_each(range(200, 220), MEDIUM) == [(215, "open", MEDIUM)]


def test_two_readings_are_two_different_readings():
    machine = Machine(CUFF)
    first = AT
    assert machine.see_each(range(0, 60, 5), MEDIUM, at=first) == []
    assert machine.see(900, MEDIUM, at=AT + timedelta(seconds=900)) == [("open", MEDIUM)]


def test_a_window_that_comes_late_or_twice_changes_nothing():
    machine = Machine()
    machine.see_each(range(0, 14), MEDIUM)
    before = json.dumps(machine.state)
    assert machine.see(13, MEDIUM) == machine.see(5, CRITICAL) == machine.see(2, None) == []
    assert json.dumps(machine.state) == before


def test_data_that_are_caught_up_late_are_marked_stale():
    for delay_s, stale in ((1, False), (3600, True)):
        outcome = Outcome(Status.OK, (Finding("DESAT", CRITICAL, 0.5, 0.5, {}, "spo2", CRITICAL),))
        _, (told,) = advance(
            initial_state(),
            "DESAT",
            outcome,
            LIMITS,
            ended_at=AT,
            now=AT + timedelta(seconds=delay_s),
            new_id=lambda: "x",
        )
        assert told.stale is stale and told.finding is outcome.findings[0]


def test_low_levels_are_recorded_and_open_nothing():
    machine = Machine((Limit("DESAT", "spo2", LOW, "spo2", "<=", 92),))
    assert machine.see(0, LOW) == [] and machine.state["phase"] == "idle"


def test_muting_the_only_limit_closes_the_episode():
    machine = Machine()
    machine.see(0, CRITICAL)
    machine.limits = ()
    assert machine.see(1, CRITICAL) == [("close", CRITICAL)]


@given(st.lists(st.tuples(st.integers(1, 40), st.sampled_from([None, *Level]), st.booleans()), max_size=60), st.data())
def test_replaying_any_prefix_again_changes_nothing_and_transitions_alternate(steps, data):
    machine, told, second, seen = Machine(), [], 0, []
    for step, level, judged in steps:
        second += step
        told += machine.see(second, level, judged=judged)
        seen.append((second, level, judged))
        if data.draw(st.booleans()):
            for again, old, was_judged in seen[-5:]:
                before = json.dumps(machine.state, sort_keys=True)
                assert machine.see(again, old, judged=was_judged) == []
                assert json.dumps(machine.state, sort_keys=True) == before
    open_level = None
    for kind, level in told:
        assert (kind == "open") == (open_level is None)
        open_level = None if kind == "close" else level
    assert (machine.state["episode_id"] is None) == (open_level is None)


@pytest.mark.parametrize("kind", ["open", "escalate"])
def test_the_finding_that_caused_it_is_named(kind):
    machine = Machine()
    if kind == "escalate":
        machine.see_each(range(0, 20), MEDIUM)
    outcome = Outcome(Status.OK, (Finding("DESAT", CRITICAL, 0.7, 0.5, {"why": 1}, "spo2", CRITICAL),))
    ended_at = AT + timedelta(seconds=20)
    _, (told,) = advance(machine.state, "DESAT", outcome, LIMITS, ended_at=ended_at, now=ended_at, new_id=lambda: "x")
    assert (told.kind, told.finding.explanation) == (kind, {"why": 1})
