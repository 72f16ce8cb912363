"""The evaluation itself, on a folder it has never seen: the scores, the table, the messages."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from inference_service.evaluate.__main__ import evaluate, main, render
from inference_service.evaluate.scoring import Tally, score_beats, score_episodes
from ops.recordings import UnreadableRecording, read_recording

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # pandas, on importing wfdb
DATA = Path(__file__).parents[2] / "data"


def test_beats_match_one_to_one_within_150_ms():
    tally = score_beats(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.1, 2.2, 3.0, 3.05, 5.0]))
    assert (tally.beats_true, tally.beats_missed, tally.beats_extra) == (2, 2, 3)


def test_alarms_are_true_near_an_episode_and_duplicates_are_counted():
    tally = score_episodes([(100, 200), (500, 600)], [(75, 120), (180, 190), (300, 310), (661, 700)], 86400)
    assert (tally.episodes, tally.found, tally.false_alarms, tally.duplicates) == (2, 1, 2, 1)
    assert tally.delays_s == [0.0] and tally.false_alarms_per_day == 2


def test_an_alarm_still_open_at_the_onset_covers_the_episode_without_a_delay():
    tally = score_episodes([(100, 200), (300, 400)], [(110, 320)], 1000)
    assert (tally.found, tally.delays_s) == (2, [10.0])


def test_tallies_add_up():
    total = Tally(beats_true=99, beats_missed=1, delays_s=[1.0]) + Tally(beats_true=1, beats_extra=1, delays_s=[3.0])
    assert (round(total.sensitivity, 2), round(total.precision, 2), total.delay(50)) == (99.01, 99.01, 2.0)
    assert np.isnan(Tally().sensitivity)


def test_a_folder_of_wfdb_records_becomes_a_table(tmp_path, capsys, monkeypatch):
    for suffix in (".dat", ".hea"):
        shutil.copy(DATA / f"mitdb_208_excerpt{suffix}", tmp_path)
    monkeypatch.setattr("sys.argv", ["evaluate", str(tmp_path)])
    assert main() == 0
    table = capsys.readouterr().out
    assert "mitdb_208_excerpt" in table and table.splitlines()[-1].startswith("gross")
    tallies = evaluate("wfdb", tmp_path, show=False)
    assert tallies["gross"].windows == 55 and render("wfdb", tallies) in table


@pytest.mark.parametrize(("arguments", "message"), [(["nowhere"], "not a folder"), (["."], "no record")])
def test_a_wrong_folder_is_said_so(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["evaluate", *arguments])
    with pytest.raises(SystemExit):
        main()
    assert message in capsys.readouterr().err


def test_the_shipped_record_is_read_as_its_header_says():
    recording = read_recording(DATA / "mitdb_208_excerpt.hea")
    assert recording[:3] == ("ECG", "mV", 360.0) and recording.channel == "MLII"
    assert len(recording.samples) == 108_000 and recording.samples[:2].tolist() == [-0.245, -0.215]


@pytest.mark.parametrize(
    ("text", "rate", "expected"),
    [
        ("Time [s],HR\n0,70\n1,\n2,72\n", None, ("HR", "/min", 1.0)),
        (
            "time,ECG (uV)\n2024-01-01T00:00:00,1\n2024-01-01T00:00:00.004,2\n2024-01-01T00:00:00.008,3\n",
            None,
            ("ECG", "uV", 250.0),
        ),
        ("SpO2\n97\n98\n", 0.5, ("SpO2", "%", 0.5)),
    ],
)
def test_csv_files(tmp_path, text, rate, expected):
    file = tmp_path / "a.csv"
    file.write_text(text)
    recording = read_recording(file, rate_hz=rate)
    assert recording[:3] == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "HR\n1\n2\n", "no time column"),
        ("a.csv", "time,HR\n0,1\n1,x\n", "could not convert"),
        ("a.csv", "time,HR\n0,1\n1,2\n9,3\n", "evenly"),
        ("a.csv", "time,HR\n", "fewer"),
        ("a.txt", "", "neither"),
    ],
)
def test_unreadable_files_say_why(tmp_path, name, text, message):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(UnreadableRecording, match=message):
        read_recording(file)


def test_a_channel_that_is_not_there(tmp_path):
    with pytest.raises(UnreadableRecording, match="no channel V9"):
        read_recording(DATA / "mitdb_208_excerpt", channel="V9")
