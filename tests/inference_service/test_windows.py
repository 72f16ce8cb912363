"""From samples to alert candidates: real samples, the real time-series service, every window once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from inference_service import builtin, judging, monitors, windows

RECORDING = Path(__file__).parents[1] / "data" / "mitdb_208_excerpt.dat"
RATE_HZ = 360
LOW, FINE = [82.0] * 40, [97.0] * 60  # SpO2 by the second: past every limit for longer than it must persist; healthy
OPEN = [("open", "critical")]


@pytest.fixture(scope="module")
def recording():
    """The shipped recording in mV."""
    return np.round((np.fromfile(RECORDING, "<i2") - 1024.0) / 200, 3)


@pytest.fixture
def oximeter(bed):
    """A stream of SpO2, one reading a second."""
    return bed.bind("SpO2", 1, "%")


def test_the_shipped_recording_alarms_once_and_live(bed, recording):
    stream_id = bed.bind("ECG", RATE_HZ, "mV", channel="MLII")
    for seconds in range(0, 300, 10):
        bed.write(stream_id, seconds, recording[seconds * RATE_HZ : (seconds + 10) * RATE_HZ])
        bed.judge()
    first = bed.candidates("ARRHYTHMIA")[0]
    assert (first["transition"], first["event_type"], first["stale"]) == ("open", "ARRHYTHMIA", False)
    assert first["stream_id"] == str(stream_id)
    assert first["model"].startswith("ecg_rhythm 1.0.0")
    assert bed.at(15) < datetime.fromisoformat(first["observed_at"]) < bed.at(60)
    inferences = {row["id"]: row for row in bed.inferences()}
    told = [inferences[item["inference_id"]] for item in bed.candidates("ARRHYTHMIA")]
    assert told[0]["level"] == first["level"]
    assert told[0]["explanation"]["limit"]
    assert (
        max(
            Counter(
                item["episode_id"] for item in bed.candidates("ARRHYTHMIA") if item["transition"] == "open"
            ).values()
        )
        == 1
    )
    assert bed.inference.audited(bed.person.org_id)[:3] == ["stream.watched", "inference.generated", "episode.opened"]


def test_one_inference_a_minute_is_kept(bed, oximeter):
    bed.write(oximeter, 0, FINE * 5)
    bed.judge()
    rows = [row for row in bed.inferences() if row["event_type"] == "DESAT"]
    minutes = [row["window_start"][:16] for row in rows]
    assert len(minutes) == len(set(minutes)) in (5, 6)
    assert {(row["status"], row["level"]) for row in rows} == {("ok", None)}


def test_an_episode_opens_once_and_closes(bed, oximeter):
    for block in range(8):
        bed.write(oximeter, 40 * block, LOW if block in (1, 2) else [97.0] * 40)
        bed.judge()
    assert bed.told("DESAT") == [*OPEN, ("close", "critical")]
    assert len({item["episode_id"] for item in bed.candidates("DESAT")}) == 1
    assert len({item["dedup_key"] for item in bed.candidates("DESAT")}) == 2


def test_the_same_news_again_change_nothing(bed, oximeter):
    bed.write(oximeter, 0, FINE + LOW + FINE)
    bed.judge()
    told, kept = bed.told("DESAT"), bed.inferences()
    bed.write(oximeter, 0, FINE + LOW + FINE)
    bed.tell(oximeter, bed.at(10), bed.at(30))
    bed.judge()
    assert (bed.told("DESAT"), bed.inferences()) == (told, kept)
    assert bed.monitor(oximeter).news_from is None


def test_samples_that_come_late_still_alarm(bed, oximeter):
    bed.write(oximeter, 0, FINE)
    bed.write(oximeter, 110, FINE)
    bed.judge()
    assert bed.told("DESAT") == []
    bed.write(oximeter, 60, [*LOW, *[97.0] * 10])
    bed.judge()
    assert bed.told("DESAT")[:1] == OPEN
    assert bed.told("DESAT")[-1][0] == "close"
    assert bed.at(60) < datetime.fromisoformat(bed.candidates("DESAT")[0]["observed_at"]) < bed.at(100)
    bed.write(oximeter, 60, [*LOW, *[97.0] * 10])
    told = bed.told("DESAT")
    bed.judge()
    assert bed.told("DESAT") == told


def test_a_late_stretch_of_ecg_is_judged_where_it_was_missing(bed, recording):
    stream_id = bed.bind("ECG", RATE_HZ, "mV")
    bed.write(stream_id, 0, recording[: 60 * RATE_HZ] * 0 + np.tile([0.0, 0.003], 30 * RATE_HZ))
    bed.write(stream_id, 180, recording[: 5 * RATE_HZ])
    bed.judge()
    told = bed.told("ARRHYTHMIA")
    bed.write(stream_id, 60, recording[: 120 * RATE_HZ])
    bed.judge()
    assert ("open", "medium") in bed.told("ARRHYTHMIA")[len(told) :]
    assert bed.told("ARRHYTHMIA")[-1][0] == "close"


def test_news_of_an_unknown_stream_wait_for_its_binding(bed):
    stream_id = bed.bind("SpO2", 1, "%", tell=False)
    bed.write(stream_id, 0, FINE + LOW)
    assert bed.judge() == 0
    bed.inference.deliver(bed.bound, bed.person.org_id)
    bed.judge()
    assert bed.told("DESAT") == OPEN


def test_a_binding_told_twice_changes_nothing(bed, oximeter):
    bed.write(oximeter, 0, FINE)
    bed.judge()
    before = bed.monitor(oximeter).cursor
    bed.inference.deliver(bed.bound, bed.person.org_id)
    assert bed.monitor(oximeter).cursor == before


def test_two_workers_judge_every_window_once(bed, recording, monkeypatch):
    judged, judge = [], judging.judge_waveform

    def note(monitor, *arguments):
        made = judge(monitor, *arguments)
        judged.extend((monitor.stream_id, item.end) for item in made)
        return made

    monkeypatch.setattr(judging, "judge_waveform", note)
    streams = [bed.bind("ECG", RATE_HZ, "mV", channel=str(number)) for number in range(3)]
    for stream_id in streams:
        bed.write(stream_id, 0, recording[: 200 * RATE_HZ])
    workers = [threading.Thread(target=bed.judge) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert bed.judge() == 0
    assert set(Counter(judged).values()) == {1}
    assert Counter(stream for stream, _ in judged) == dict.fromkeys(streams, 39)
    told = bed.candidates("ARRHYTHMIA")
    assert len({item["dedup_key"] for item in told}) == len(told) > 0
    assert len({sum(item["stream_id"] == str(stream_id) for item in told) for stream_id in streams}) == 1


def test_a_worker_killed_before_the_commit_loses_and_repeats_nothing(bed, oximeter):
    bed.write(oximeter, 0, FINE + LOW)
    killed = """
import os, signal
from common.database import Database
from common.http import InternalClient
from inference_service import monitors, windows
from inference_service.config import Settings
settings = Settings.load("inference")
monitors.finish = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
windows.judge_next(Database(settings), InternalClient(settings), settings)
"""
    assert subprocess.run([sys.executable, "-c", killed], timeout=60).returncode == -9
    assert bed.told("DESAT") == []
    assert bed.judge() == 0  # the lease is still the dead worker's
    bed.set_monitor(oximeter, lease_until=datetime.now(UTC))
    bed.judge()
    assert bed.told("DESAT") == OPEN


def test_a_worker_that_lost_its_lease_writes_nothing(bed, oximeter, monkeypatch):
    bed.write(oximeter, 0, FINE + LOW)
    look = windows._look

    def overtaken(*arguments):
        work = look(*arguments)
        monkeypatch.setattr(windows, "_look", look)
        bed.set_monitor(oximeter, lease_until=datetime.now(UTC))
        bed.judge()
        return work

    monkeypatch.setattr(windows, "_look", overtaken)
    bed.judge()
    assert bed.told("DESAT") == OPEN


def test_samples_written_while_a_worker_looks_are_not_lost(bed, oximeter, monkeypatch):
    bed.write(oximeter, 0, FINE)
    bed.write(oximeter, 100, FINE)
    look = windows._look

    def slow(*arguments):
        work = look(*arguments)
        monkeypatch.setattr(windows, "_look", look)
        bed.write(oximeter, 60, LOW)
        return work

    monkeypatch.setattr(windows, "_look", slow)
    bed.judge()
    assert bed.told("DESAT")[:1] == OPEN


def test_old_samples_alarm_as_stale_and_again_when_they_are_live(bed):
    bed.began = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
    stream_id = bed.bind("SpO2", 1, "%")
    bed.write(stream_id, 0, FINE + LOW)
    bed.judge()
    assert [(item["transition"], item["stale"]) for item in bed.candidates("DESAT")] == [("open", True)]
    bed.write(stream_id, 3 * 3600 - 120, LOW)
    bed.judge()
    first, again = bed.candidates("DESAT")
    assert (again["transition"], again["stale"], again["level"]) == ("open", False, "critical")
    assert again["episode_id"] == first["episode_id"]
    assert again["dedup_key"] != first["dedup_key"]


def test_samples_that_waited_for_us_are_stale_though_their_clock_runs_ahead(bed):
    bed.began = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)
    stream_id = bed.bind("SpO2", 1, "%")
    bed.write(stream_id, 0, FINE + LOW)
    bed.set_monitor(stream_id, written_at=datetime.now(UTC) - timedelta(hours=1))
    bed.judge()
    assert [item["stale"] for item in bed.candidates("DESAT")] == [True]


def test_silence_is_a_lost_signal_and_ends_with_the_next_samples(bed, oximeter):
    bed.write(oximeter, 0, FINE)
    bed.judge()
    bed.set_monitor(oximeter, check_at=datetime.now(UTC), written_at=datetime.now(UTC) - timedelta(seconds=70))
    bed.judge()
    assert bed.told("SIGNAL_LOST") == [("open", "medium")]
    assert not bed.candidates("SIGNAL_LOST")[0]["stale"]
    bed.set_monitor(oximeter, check_at=datetime.now(UTC), written_at=datetime.now(UTC) - timedelta(seconds=660))
    bed.judge()
    assert bed.told("SIGNAL_LOST")[1:] == [("escalate", "high")]
    bed.write(oximeter, 760, FINE[:40])
    bed.judge()
    assert bed.told("SIGNAL_LOST")[2:] == [("close", "high")]


def test_the_end_of_a_stream_ends_its_lost_signal(bed, oximeter):
    bed.write(oximeter, 0, FINE)
    bed.judge()
    bed.set_monitor(oximeter, check_at=datetime.now(UTC), written_at=datetime.now(UTC) - timedelta(seconds=70))
    bed.judge()
    bed.end(oximeter, bed.at(200))
    bed.judge()
    assert [item[0] for item in bed.told("SIGNAL_LOST")] == ["open", "close"]
    assert bed.monitor(oximeter).check_at is None


def test_samples_that_nobody_told_of_are_found(bed, oximeter):
    bed.write(oximeter, 0, FINE)
    bed.judge()
    bed.write(oximeter, 60, LOW, tell=False)
    assert bed.judge() == 0
    bed.set_monitor(oximeter, check_at=datetime.now(UTC))
    bed.judge()
    assert bed.told("DESAT") == OPEN


def test_a_stream_of_which_no_samples_were_told_is_found(bed):
    stream_id = bed.bind("ECG", RATE_HZ, "mV")
    bed.write(stream_id, 0, np.zeros(100), tell=False)
    bed.set_monitor(stream_id, check_at=datetime.now(UTC))
    bed.judge()
    assert bed.monitor(stream_id).written_from == bed.at(0)


def test_news2_joins_the_streams_of_a_patient(bed):
    vitals = {"RESP": (26, "/min"), "SpO2": (95, "%"), "HR": (100, "bpm"), "TEMP": (37.0, "°C")}
    for signal, (value, unit) in vitals.items():
        bed.write(bed.bind(signal, 0.1, unit), 0, [value] * 6)
    bed.write(bed.bind("BP", 0.1, "mmHg", channel="systolic"), 0, [118] * 6)
    bed.judge()
    assert bed.told("GENERAL_RISK") == [("open", "medium"), ("escalate", "high")]
    assert {item["stream_id"] for item in bed.candidates("GENERAL_RISK")} == {None}
    last = bed.inferences(event_type="GENERAL_RISK")[-1]["explanation"]
    assert last["parts"] == {"respiration": 3, "spo2": 1, "pulse": 1}
    assert sorted(last["missing"]) == ["consciousness", "oxygen", "systolic", "temperature"]


def test_one_second_of_a_moving_finger_is_no_risk(bed, oximeter):
    bed.write(oximeter, 0, [97.0] * 55 + [80.0] * 5 + [97.0] * 60)
    bed.judge()
    assert bed.told("GENERAL_RISK") == bed.told("DESAT") == []


def test_readings_faster_than_a_second_are_judged_by_the_second(bed):
    stream_id = bed.bind("SpO2", 4, "%")
    for block in range(4):
        bed.write(stream_id, 15.25 * block, np.repeat([97.0, 82.0][block > 0], 61))
        bed.judge()
    assert bed.told("DESAT") == OPEN
    assert bed.monitor(stream_id).cursor == bed.at(61)


def test_a_gap_of_a_year_costs_nothing(bed):
    bed.began = datetime.now(UTC).replace(microsecond=0) - timedelta(days=365)
    stream_id = bed.bind("ECG", 100, "mV")
    bed.write(stream_id, 0, np.sin(np.arange(3000) / 5))
    bed.write(stream_id, 365 * 86_400 - 60, np.sin(np.arange(3000) / 5))
    assert bed.judge() < 6
    assert bed.monitor(stream_id).cursor > bed.at(365 * 86_400 - 60)


def test_a_signal_that_no_model_takes_is_only_watched(bed):
    for signal, rate, unit in (("HRV", 1, "ms"), ("ECG", 50, "mV")):
        stream_id = bed.bind(signal, rate, unit)
        bed.write(stream_id, 0, [1.0] * 60)
        assert bed.judge() == 0
        assert bed.monitor(stream_id).written_until is not None


def test_a_time_series_service_that_is_away_is_waited_for(bed, oximeter, monkeypatch):
    bed.write(oximeter, 0, FINE + LOW)
    with monkeypatch.context() as away:
        away.setenv("INFLUX_PORT", "1")
        assert bed.judge() == 1
    assert bed.judge() == 0
    bed.set_monitor(oximeter, lease_until=datetime.now(UTC))
    bed.judge()
    assert bed.told("DESAT") == OPEN


def test_a_model_that_fails_on_one_stream_does_not_stop_the_others(bed, oximeter, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(builtin.load("ecg_rhythm"), "infer", fail)
    broken = bed.bind("ECG", 100, "mV")
    bed.write(broken, 0, np.zeros(3000))
    bed.write(oximeter, 0, FINE + LOW)
    bed.judge()
    assert bed.told("DESAT") == OPEN
    row = bed.inferences(stream_id=broken)[0]
    assert (row["status"], row["reason"], row["level"]) == ("error", "ZeroDivisionError", None)


@pytest.mark.parametrize(("stage", "kept"), [("shadow", True), ("retired", False)])
def test_a_model_out_of_production_alarms_nobody(bed, oximeter, stage, kept):
    models = {row["name"]: row["id"] for row in bed.inference.call("GET", "/models", bed.person).json["data"]}
    bed.judge()
    path = f"/models/{models['vital_limits']}/versions"
    version = bed.inference.call("GET", path, bed.person).json["data"][0]["version"]
    answer = bed.inference.call("PUT", f"{path}/{version}/stage", bed.person, json={"stage": stage})
    assert answer.json["data"]["stage"] == stage
    bed.write(oximeter, 0, FINE + LOW)
    bed.judge()
    assert bed.told("DESAT") == []
    assert bool(bed.inferences(event_type="DESAT")) == kept


def test_a_profile_changes_what_is_judged(bed, oximeter):
    path = f"/inference-profiles/{bed.patient_id}"
    assert bed.inference.call("PUT", path, bed.person, json={"spo2_scale": 2}).status_code == 200
    bed.write(oximeter, 0, FINE + [86.0] * 40)
    bed.judge()
    assert bed.told("DESAT") == [("open", "medium")]


def test_every_claim_is_bounded(bed, recording):
    stream_id = bed.bind("ECG", RATE_HZ, "mV")
    bed.write(stream_id, 0, recording[: 250 * RATE_HZ])
    bed.write(stream_id, 250, recording[: 50 * RATE_HZ])
    bed.judge(1)
    assert bed.monitor(stream_id).cursor <= bed.at(0) + timedelta(seconds=windows.MAX_WINDOWS * monitors.ECG_STEP_S)
    assert bed.monitor(stream_id).lease_owner is None
