"""One function a layout of recordings: each yields (record, tally) and reads nothing but files of its folder."""

import csv
import gzip
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from inference_service.builtin import ecg_rhythm, news2
from inference_service.builtin.limits import ECG_LIMITS, judge
from inference_service.builtin.model import Level, Observed, Outcome, PatientContext, Status
from inference_service.evaluate.replay import START, Replay, ecg_replay, ecg_windows, only
from inference_service.evaluate.scoring import Tally, score_beats, score_episodes
from inference_service.signals import rhythm, rpeaks
from inference_service.signals.window import Window

BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ?")
AF_RHYTHMS = ("AFIB", "AFL")
LONG_EPISODE_S = 120.0
CONDITION_OF_ALARM = {
    "Asystole": "asystole",
    "Bradycardia": "extreme_bradycardia",
    "Tachycardia": "extreme_tachycardia",
    "Ventricular_Flutter_Fib": "fibrillation",
    "Ventricular_Tachycardia": "ventricular_run",
}

Spans = list[tuple[float, float]]


def wfdb_folder(folder: Path) -> list[tuple[str, Callable[[], Tally]]]:
    """Any WFDB records; beats and rhythms are scored where there are annotations (`.atr`)."""
    return [(header.stem, partial(_wfdb_record, header)) for header in sorted(folder.glob("*.hea"))]


def _wfdb_record(header: Path) -> Tally:
    import wfdb

    path = str(header.with_suffix(""))
    record = wfdb.rdrecord(path)
    rate = float(record.fs)
    columns = [i for i, unit in enumerate(record.units) if unit.lower() in ("mv", "uv", "v")][:1]
    if not columns:
        return Tally()
    scale = {"mv": 1.0, "uv": 0.001, "v": 1000.0}[record.units[columns[0]].lower()]
    leads = record.p_signal[:, columns] * scale
    seconds = len(leads) / rate
    annotation = wfdb.rdann(path, "atr") if header.with_suffix(".atr").is_file() else None
    rhythms = _rhythms(annotation, rate, seconds) if annotation else []
    fibrillation = _fibrillation(annotation, rate, rhythms, seconds) if annotation else []
    known = set(annotation.symbol) & BEAT_SYMBOLS if annotation else set()
    tally = _beats(annotation, leads[:, 0], rate, fibrillation) if known else Tally()
    reference = _beat_times(annotation, rate) if known else np.empty(0)
    af = [(onset, end) for onset, end, name in rhythms if name in AF_RHYTHMS]
    replay = ecg_replay(("new_af",))
    judged_af = bool(rhythms)
    for windows, end in ecg_windows(leads, [record.sig_name[i] for i in columns], rate):
        outcome = ecg_rhythm.infer(windows, PatientContext())
        replay.feed(outcome, START + timedelta(seconds=end))
        tally.windows += 1
        tally.abstained += outcome.status is Status.ABSTAIN
        _score_rate(tally, outcome, reference, end)
        if judged_af and outcome.status is Status.OK:
            _score_af_window(tally, outcome, af, end)
    if judged_af:
        long = [(onset, end) for onset, end, name in rhythms if name == "AFIB" and end - onset >= LONG_EPISODE_S]
        alarms = replay.alarms("ARRHYTHMIA", START + timedelta(seconds=seconds))
        return tally + score_episodes(af, alarms, seconds, long)
    return tally + Tally(seconds=seconds)


def _beat_times(annotation: Any, rate: float) -> np.ndarray:
    return np.array(
        [at / rate for at, symbol in zip(annotation.sample, annotation.symbol, strict=True) if symbol in BEAT_SYMBOLS]
    )


def _rhythms(annotation: Any, rate: float, seconds: float) -> list[tuple[float, float, str]]:
    marks = [
        (at / rate, note.strip("\x00").lstrip("("))
        for at, note in zip(annotation.sample, annotation.aux_note, strict=True)
        if note.startswith("(")
    ]
    ends = [at for at, _ in marks[1:]] + [seconds]
    return [(at, end, name) for (at, name), end in zip(marks, ends, strict=True)]


def _fibrillation(annotation: Any, rate: float, rhythms: list[tuple[float, float, str]], seconds: float) -> Spans:
    """Where EC57 does not count beats: ventricular flutter and fibrillation."""
    spans = [(onset, end) for onset, end, name in rhythms if name in ("VFL", "VF", "VFIB")]
    onset = None
    for at, symbol in zip(annotation.sample, annotation.symbol, strict=True):
        if symbol == "[":
            onset = at / rate
        elif symbol == "]" and onset is not None:
            spans.append((onset, at / rate))
            onset = None
    return spans if onset is None else [*spans, (onset, seconds)]


def _beats(annotation: Any, lead: np.ndarray, rate: float, left_out: Spans) -> Tally:
    detected = rpeaks.detect_sliding(np.nan_to_num(lead), rate) / rate
    return score_beats(_outside(_beat_times(annotation, rate), left_out), _outside(detected, left_out))


def _outside(times: np.ndarray, spans: Spans) -> np.ndarray:
    keep = np.ones(len(times), dtype=bool)
    for onset, end in spans:
        keep &= (times < onset - 0.15) | (times > end + 0.15)
    return times[keep]


def _score_rate(tally: Tally, outcome: Outcome, reference: np.ndarray, end: float) -> None:
    rate = outcome.features.get("heart_rate")
    true_rate = rhythm.heart_rate(reference[(reference >= end - 11) & (reference < end)])
    if rate is not None and outcome.status is Status.OK and not np.isnan(true_rate):
        _add_rate(tally, rate, true_rate)


def _add_rate(tally: Tally, rate: float, true_rate: float) -> None:
    tally.rate_judged += 1
    tally.rate_within_5 += abs(rate - true_rate) <= 5
    tally.rate_errors.append(abs(rate - true_rate))


def _score_af_window(tally: Tally, outcome: Outcome, af: Spans, end: float) -> None:
    """A window belongs to one side only where it lies wholly in or out of atrial fibrillation."""
    finding = next((f for f in outcome.findings if f.condition == "new_af"), None)
    if finding is None:
        return
    start = end - ecg_rhythm.MODEL.window_s
    inside = sum(max(0.0, min(end, off) - max(start, on)) for on, off in af) / (end - start)
    if inside > 0.99:
        tally.positive_windows += 1
        tally.positive_flagged += finding.level is not None
    elif inside == 0:
        tally.negative_windows += 1
        tally.negative_flagged += finding.level is not None


def afdb_rr(folder: Path) -> list[tuple[str, Callable[[], Tally]]]:
    """MIT-BIH AF Database as beat times and rhythm labels (`hgafrr_*.npz`); no waveform."""
    return [(file.stem.split("_")[-1], partial(_afdb_record, file)) for file in sorted(folder.glob("*.npz"))]


def _afdb_record(file: Path) -> Tally:
    data = np.load(file)
    rate = float(data["fs"])
    beats, starts = data["qrs"] / rate, data["rhythm_start"] / rate
    seconds = float(beats[-1])
    spans = list(zip(starts, [*starts[1:], seconds], data["rhythm"].tolist(), strict=True))
    af = [(onset, end) for onset, end, name in spans if name in AF_RHYTHMS]
    model, limits = ecg_rhythm.MODEL, only(ECG_LIMITS, "new_af")
    replay, tally = ecg_replay(("new_af",)), Tally()
    for end in np.arange(model.window_s, seconds, model.step_s):
        first, last = np.searchsorted(beats, (end - model.window_s, end))
        peaks = beats[first:last]
        intervals = rhythm.sinus_intervals(peaks, np.zeros(len(peaks), dtype=bool))
        findings = judge(limits, {"cosen": rhythm.irregularity(intervals)})
        outcome = Outcome(Status.OK if findings else Status.ABSTAIN, findings)
        replay.feed(outcome, START + timedelta(seconds=float(end)))
        tally.windows += 1
        tally.abstained += not findings
        _score_af_window(tally, outcome, af, float(end))
    long = [(onset, end) for onset, end, name in spans if name == "AFIB" and end - onset >= LONG_EPISODE_S]
    alarms = replay.alarms("ARRHYTHMIA", START + timedelta(seconds=seconds))
    return tally + score_episodes(af, alarms, seconds, long)


def bidmc(folder: Path) -> list[tuple[str, Callable[[], Tally]]]:
    """BIDMC: lead II at 125 Hz against the monitor's heart rate, second by second."""
    files = sorted(folder.glob("hgbidmc_*_signals.npz"))
    return [(file.stem.split("_")[1], partial(_bidmc_record, file)) for file in files]


def _bidmc_record(file: Path) -> Tally:
    data = np.load(file)
    rate = float(data["fs"])
    index = data["names"].tolist().index("II")
    raw = data["sig"][:, index].astype(float)
    lead = np.where(raw == int(data["nan"]), np.nan, raw * data["scale"][index])
    with (file.parent / f"bidmc_{file.stem.split('_')[1]}_Numerics.csv").open(newline="") as numerics:
        monitor = np.array([_number(row[1]) for row in list(csv.reader(numerics))[1:]])
    tally = Tally(seconds=len(lead) / rate)
    for windows, end in ecg_windows(lead[:, None], ["II"], rate):
        outcome = ecg_rhythm.infer(windows, PatientContext())
        tally.windows += 1
        tally.abstained += outcome.status is Status.ABSTAIN
        shown = monitor[round(end)] if round(end) < len(monitor) else np.nan
        found = outcome.features.get("heart_rate")
        if outcome.status is Status.OK and found is not None and shown > 0:
            _add_rate(tally, found, shown)
    return tally


def cinc2015(folder: Path) -> list[tuple[str, Callable[[], Tally]]]:
    """CinC 2015: the minute before a bedside alarm; does the same alarm arise in its last 10 s?"""
    with (folder / "INDEX.csv").open(newline="") as index:
        rows = sorted(csv.DictReader(index), key=lambda row: (row["alarm"], row["file"]))
    return [(f"{row['alarm']} {row['file']}", partial(_cinc2015_record, folder, row)) for row in rows]


def _cinc2015_record(folder: Path, row: dict[str, str]) -> Tally:
    data = np.load(folder / f"{row['file']}.npz")
    rate = float(data["fs"])
    leads = [i for i, unit in enumerate(data["units"].tolist()) if unit == "mV"]
    values = (data["sig"][:, leads] - data["baseline"][leads]) / data["gain"][leads]
    names = [str(data["names"][i]) for i in leads]
    tally = Tally(seconds=len(values) / rate)
    fired = False
    for windows, end in ecg_windows(values, names, rate):
        if end < len(values) / rate - 10:
            continue
        outcome = ecg_rhythm.infer(windows, PatientContext())
        tally.windows += 1
        tally.abstained += outcome.status is Status.ABSTAIN
        fired |= any(f.level for f in outcome.findings if f.condition == CONDITION_OF_ALARM[row["alarm"]])
    true = row["true"] == "1"
    tally.positive_windows, tally.positive_flagged = int(true), int(true and fired)
    tally.negative_windows, tally.negative_flagged = int(not true), int(not true and fired)
    return tally


def cinc2017(folder: Path) -> list[tuple[str, Callable[[], Tally]]]:
    """CinC 2017: a hand-held lead labelled as a whole; atrial fibrillation (A) against the rest, noisy (~) apart."""
    with (folder / "REFERENCE.csv").open(newline="") as reference:
        labels = [row for row in csv.reader(reference) if (folder / f"{row[0]}.hea").is_file()]
    return [(f"{label} {name}", partial(_cinc2017_record, folder, name, label)) for name, label in labels]


def _cinc2017_record(folder: Path, name: str, label: str) -> Tally:
    import wfdb

    record = wfdb.rdrecord(str(folder / name))
    tally = Tally(seconds=record.sig_len / record.fs)
    flagged = []
    for windows, _ in ecg_windows(record.p_signal[:, :1], ["I"], float(record.fs)):
        outcome = ecg_rhythm.infer(windows, PatientContext())
        tally.windows += 1
        tally.abstained += outcome.status is Status.ABSTAIN
        flagged += [f.level is not None for f in outcome.findings if f.condition == "new_af"]
    if flagged and label != "~":
        side = "positive" if label == "A" else "negative"
        setattr(tally, f"{side}_windows", 1)
        setattr(tally, f"{side}_flagged", int(np.mean(flagged) > 0.5))
    return tally


def cinc2012(folder: Path) -> list[tuple[str, Callable[[], Tally]]]:
    """CinC 2012: ICU vital signs of 48 h; how often does the emergency band of NEWS2 (7 and more) alarm?"""
    names = {"HR": "HR", "RespRate": "RESP", "Temp": "TEMP", "SaO2": "SpO2", "NISysABP": "BP", "SysABP": "BP"}
    patients: dict[str, list[tuple[float, str, float]]] = {}
    with gzip.open(folder / "hgicu12_a_vitals.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            name = "GCS" if row["parameter"] == "GCS" else names.get(row["parameter"])
            if name:
                sample = (60 * float(row["minute"]), name, float(row["value"]))
                patients.setdefault(row["RecordID"], []).append(sample)
    return [(patient, partial(_icu_stay, rows)) for patient, rows in patients.items()]


def cinc2019(folder: Path) -> list[tuple[str, Callable[[], Tally]]]:
    """CinC 2019: hourly ICU vital signs; the same question."""
    names = {"HR": "HR", "Resp": "RESP", "Temp": "TEMP", "O2Sat": "SpO2", "SBP": "BP", "FiO2": "FiO2"}
    patients: dict[str, list[tuple[float, str, float]]] = {}
    with gzip.open(folder / "hgicu19_dev.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            rows = patients.setdefault(row["id"], [])
            rows += [(3600 * float(row["ICULOS"]), new, float(row[old])) for old, new in names.items() if row[old]]
    return [(patient, partial(_icu_stay, rows)) for patient, rows in patients.items() if rows]


def _icu_stay(samples: list[tuple[float, str, float]]) -> Tally:
    """`alarms` counts openings at 7 and more; `positive_*` the hours with a score, flagged where one parameter is 3."""
    samples = sorted(samples)
    replay = Replay(only(news2.MODEL.limits, "news2"), news2.MODEL.events)
    latest: dict[str, Window] = {}
    oxygen = consciousness = None
    tally = Tally(seconds=samples[-1][0] - samples[0][0] or 3600.0)
    emergencies, next_hour = 0, samples[0][0]
    for number, (second, name, value) in enumerate(samples):
        at = START + timedelta(seconds=second)
        if name == "GCS":
            consciousness = Observed("A" if value >= 15 else "V", at)
        elif name == "FiO2":
            oxygen = Observed(value > 0.21, at)
        elif _possible(name, value):
            unit = next(i.unit for i in news2.MODEL.inputs if i.signal == name)
            latest[name] = Window(name, unit, 1, at, np.array([value]), "systolic" if name == "BP" else "")
        if number + 1 < len(samples) and samples[number + 1][0] == second:
            continue
        at += timedelta(seconds=1)
        context = PatientContext(on_oxygen=oxygen, consciousness=consciousness)
        outcome = news2.infer(list(latest.values()), context, at)
        changes = replay.feed(outcome, at)
        emergencies += sum(c.kind in ("open", "escalate") and c.level == Level.CRITICAL for c in changes)
        if second >= next_hour:
            next_hour = second + 3600
            tally.windows += 1
            tally.abstained += outcome.status is Status.ABSTAIN
            tally.positive_windows += 1
            tally.positive_flagged += outcome.features.get("single", 0) >= 3
    tally.alarms = tally.false_alarms = emergencies
    return tally


def _possible(name: str, value: float) -> bool:
    """Charted zeros and typing errors are no readings."""
    least, greatest = {"HR": (20, 300), "RESP": (3, 70), "TEMP": (25, 45), "SpO2": (50, 100), "BP": (40, 300)}[name]
    return least <= value <= greatest


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


DATA_SETS: dict[str, Callable[[Path], list[tuple[str, Callable[[], Tally]]]]] = {
    "wfdb": wfdb_folder,
    "mitdb": wfdb_folder,
    "afdb_rr": afdb_rr,
    "bidmc": bidmc,
    "cinc2015": cinc2015,
    "cinc2017": cinc2017,
    "cinc2012": cinc2012,
    "cinc2019": cinc2019,
}
