"""`python -m inference_service.evaluate FOLDER [--data-set NAME] [--limit N]`: a table of one line a record."""

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

from inference_service.evaluate.datasets import DATA_SETS
from inference_service.evaluate.scoring import Tally

Column = tuple[str, Callable[[Tally], float], str]

BEATS: tuple[Column, ...] = (
    ("beats", lambda t: t.beats_true + t.beats_missed, "d"),
    ("Se %", lambda t: t.sensitivity, ".2f"),
    ("PPV %", lambda t: t.precision, ".2f"),
)
RATE: tuple[Column, ...] = (
    ("HR <=5 %", lambda t: t.within_5, ".1f"),
    ("HR error", lambda t: t.rate_error, ".2f"),
)
WINDOWS: tuple[Column, ...] = (
    ("Se %", lambda t: t.window_sensitivity, ".1f"),
    ("Sp %", lambda t: t.window_specificity, ".1f"),
)
ALARMS: tuple[Column, ...] = (
    ("episodes", lambda t: t.episodes, "d"),
    ("found", lambda t: t.found, "d"),
    ("false/day", lambda t: t.false_alarms_per_day, ".2f"),
    ("again", lambda t: t.duplicates, "d"),
    ("p50 s", lambda t: t.delay(50), ".0f"),
    ("p95 s", lambda t: t.delay(95), ".0f"),
)
ABSTAINED: tuple[Column, ...] = (("abstain %", lambda t: t.abstained_share, ".1f"),)
BURDEN: tuple[Column, ...] = (
    ("hours", lambda t: t.windows, "d"),
    ("a single 3, %", lambda t: t.window_sensitivity, ".1f"),
    (">=7 alarms/day", lambda t: t.false_alarms_per_day, ".2f"),
)
AF_WINDOWS: tuple[Column, ...] = (("AF Se %", *WINDOWS[0][1:]), ("AF Sp %", *WINDOWS[1][1:]))
CHALLENGE: tuple[Column, ...] = (
    ("true", lambda t: t.positive_windows, "d"),
    ("raised", lambda t: t.positive_flagged, "d"),
    ("false", lambda t: t.negative_windows, "d"),
    ("raised", lambda t: t.negative_flagged, "d"),
    ("TPR %", *WINDOWS[0][1:]),
    ("TNR %", *WINDOWS[1][1:]),
    ("score", lambda t: t.challenge_score, ".1f"),
)
COLUMNS: dict[str, tuple[Column, ...]] = {
    "wfdb": BEATS + RATE + AF_WINDOWS + ALARMS + ABSTAINED,
    "mitdb": BEATS + RATE + AF_WINDOWS + ALARMS + ABSTAINED,
    "afdb_rr": AF_WINDOWS + ALARMS + ABSTAINED,
    "bidmc": RATE + ABSTAINED,
    "cinc2015": CHALLENGE + ABSTAINED,
    "cinc2017": AF_WINDOWS + ABSTAINED,
    "cinc2012": BURDEN + ABSTAINED,
    "cinc2019": BURDEN + ABSTAINED,
}
BY_GROUP = ("cinc2015", "cinc2017")  # a record is one case there: a line is a group of them
ONLY_GROSS = ("cinc2012", "cinc2019")


def evaluate(data_set: str, folder: Path, limit: int | None = None, show: bool = True) -> dict[str, Tally]:
    """Tallies by record (or group), and `gross` over all of them, with a progress bar on stderr."""
    work = DATA_SETS[data_set](folder)[:limit]
    tallies: dict[str, Tally] = {}
    total = Tally()
    began = time.monotonic()
    for number, (name, run) in enumerate(work, 1):
        tally = run()
        total += tally
        line = name.split()[0] if data_set in BY_GROUP else name
        if data_set not in ONLY_GROSS:
            tallies[line] = tallies.get(line, Tally()) + tally
        if show:
            _progress(number, len(work), name, time.monotonic() - began)
    return {**tallies, "gross": total}


def _progress(done: int, total: int, name: str, seconds: float) -> None:
    if not sys.stderr.isatty() and done != total:
        return
    bar = "#" * round(30 * done / total)
    left = seconds / done * (total - done)
    end = "\n" if done == total else ""
    print(f"\r[{bar:<30}] {done}/{total}  {left:4.0f} s left  {name[:30]:<30}", end=end, file=sys.stderr, flush=True)


def render(data_set: str, tallies: dict[str, Tally]) -> str:
    """A table of fixed columns; what was not measured is a dash."""
    columns = COLUMNS[data_set]
    rows = [["record", *(name for name, _, _ in columns)]]
    for name, tally in tallies.items():
        rows.append([name, *(_cell(value(tally), form) for _, value, form in columns)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _cell(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(int(value) if form == "d" else value, form)


def main() -> int:
    """Measure the folder that the command line names and print the table."""
    parser = argparse.ArgumentParser(prog="python -m inference_service.evaluate", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of recordings")
    parser.add_argument("--data-set", choices=sorted(DATA_SETS), default="wfdb", help="layout of the folder")
    parser.add_argument("--limit", type=int, help="only so many records")
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is not a folder")
    try:
        tallies = evaluate(arguments.data_set, arguments.folder, arguments.limit)
    except ModuleNotFoundError as missing:
        parser.error(f"{missing.name} is needed to read these files: pip install {missing.name}")
    except FileNotFoundError as missing:
        parser.error(f"{missing.filename} is missing: is this the layout of {arguments.data_set}?")
    if len(tallies) == 1 and not tallies["gross"].seconds:
        parser.error(f"no record of layout {arguments.data_set} in {arguments.folder}")
    print(render(arguments.data_set, tallies))
    return 0


if __name__ == "__main__":
    sys.exit(main())
