"""Reads one channel of a recording: a WFDB record (format 16 by itself, others through `wfdb`) or a CSV file."""

import csv
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

TIME_COLUMN = re.compile(r"^\W*(time|t|seconds|timestamp|elapsed)\b", re.IGNORECASE)
SIGNAL_OF_CHANNEL = {
    "hr": "HR", "pulse": "HR", "spo2": "SpO2", "sao2": "SpO2", "resp": "RESP", "temp": "TEMP", "bp": "BP", "abp": "BP",
}  # fmt: skip
UNIT_OF_SIGNAL = {"ECG": "mV", "HR": "/min", "SpO2": "%", "RESP": "/min", "TEMP": "°C", "BP": "mmHg"}


class UnreadableRecording(Exception):
    """The file is not a recording this module reads; the message says why."""


class Recording(NamedTuple):
    """One channel, evenly sampled; a missing sample is NaN."""

    signal: str
    unit: str
    sample_rate_hz: float
    samples: np.ndarray
    channel: str


def read_recording(path: str | Path, *, rate_hz: float | None = None, channel: str | None = None) -> Recording:
    """The first channel, or the named one, of a WFDB record (with or without suffix) or a CSV file.

    A CSV file needs a time column (seconds or ISO 8601) or `rate_hz`. Raises UnreadableRecording.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        return _read_csv(path, rate_hz, channel)
    header = path if path.suffix == ".hea" else path.with_name(path.name.removesuffix(".dat") + ".hea")
    if not header.is_file():
        raise UnreadableRecording(f"{path}: neither a CSV file nor a WFDB record (no {header.name})")
    try:
        return _read_wfdb(header, channel)
    except (ValueError, IndexError) as problem:
        raise UnreadableRecording(f"{header}: {problem}") from problem


def _read_wfdb(header: Path, channel: str | None) -> Recording:
    lines = [line for line in header.read_text(encoding="latin-1").splitlines() if line.strip() and line[0] != "#"]
    record, *signals = [line.split() for line in lines]
    if len(signals) != 1 or signals[0][1] != "16":
        return _read_with_wfdb(header, channel)
    file, _, gain, _, zero, *rest = signals[0]
    name = rest[-1] if len(rest) > 3 else ""
    scale, _, unit = gain.partition("/")
    if channel not in (None, name):
        raise UnreadableRecording(f"{header}: no channel {channel}, only {name}")
    digital = np.fromfile(header.with_name(file), dtype="<i2")
    physical = np.where(digital == -32768, np.nan, (digital - int(zero)) / float(scale.split("(")[0]))
    return _recording(name, unit or "mV", float(record[2].split("/")[0]), physical)


def _read_with_wfdb(header: Path, channel: str | None) -> Recording:
    try:
        import wfdb
    except ImportError as missing:
        raise UnreadableRecording(f"{header}: this format needs `pip install wfdb`") from missing
    record = wfdb.rdrecord(str(header.with_suffix("")))
    index = _column(record.sig_name, channel, header)
    return _recording(record.sig_name[index], record.units[index], float(record.fs), record.p_signal[:, index])


def _read_csv(path: Path, rate_hz: float | None, channel: str | None) -> Recording:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if len(rows) < 3:
        raise UnreadableRecording(f"{path}: fewer than two samples")
    names = [name.strip() for name in rows[0]]
    timed = bool(TIME_COLUMN.match(names[0]))
    if not timed and rate_hz is None:
        raise UnreadableRecording(f"{path}: no time column first and no sample rate given")
    index = _column(names[timed:], channel, path) + timed
    try:
        samples = np.array([float(row[index].strip() or "nan") for row in rows[1:]])
        times = _seconds([row[0].strip() for row in rows[1:]]) if timed else []
    except (ValueError, IndexError) as problem:
        raise UnreadableRecording(f"{path}: {problem}") from problem
    unit = re.search(r"[\[(](.+?)[\])]", names[index])
    name = re.sub(r"\s*[\[(].*", "", names[index])
    return _recording(name, unit[1] if unit else "", rate_hz or _rate(times, path), samples)


def _seconds(texts: Sequence[str]) -> list[float]:
    """Times in seconds from the first one; numbers are seconds already."""
    try:
        return [float(text) for text in texts]
    except ValueError:
        times = [datetime.fromisoformat(text) for text in texts]
        return [(time - times[0]).total_seconds() for time in times]


def _rate(times: Sequence[float], path: Path) -> float:
    steps = np.diff(times)
    step = float(np.median(steps))
    if step <= 0 or np.abs(steps - step).max() > 0.5 * step:
        raise UnreadableRecording(f"{path}: samples are not evenly spaced")
    return round((len(times) - 1) / (times[-1] - times[0]), 6)


def _column(names: Sequence[str], channel: str | None, path: Path) -> int:
    if channel is None:
        return 0
    if channel not in names:
        raise UnreadableRecording(f"{path}: no channel {channel}, only {', '.join(names)}")
    return list(names).index(channel)


def _recording(name: str, unit: str, rate_hz: float, samples: np.ndarray) -> Recording:
    signal = SIGNAL_OF_CHANNEL.get(name.strip().lower(), "ECG")
    return Recording(signal, unit or UNIT_OF_SIGNAL[signal], rate_hz, samples, name)
