"""Strips and trends as SVG, in millimetres so that a print is to scale: ECG paper, 25 mm/s and 10 mm/mV."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from statistics import median

MAX_STRIP_SECONDS = 60
MAX_TRENDS = 8
MAX_MARKS = 200

SECOND = 1_000_000_000
PAPER_SPEED = 25.0  # mm/s
ROW_SECONDS = 10
COLUMNS_PER_MM = 10  # finer than a pen; more samples than that are drawn as their minimum and maximum
MARGIN, HEADER, FOOTER, CAPTION = 12.0, 14.0, 9.0, 5.0  # mm
GAINS = (10.0, 5.0, 2.5)  # mm/mV
ROW_HEIGHTS = (30.0, 60.0)  # mm
TREND_WIDTH, TREND_HEIGHT = 250.0, 30.0  # mm
MILLIVOLTS = {"mV": 1.0, "uV": 0.001, "µV": 0.001, "V": 1000.0}

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE = (
    "text{font-family:'Liberation Sans',Arial,'DejaVu Sans',sans-serif;font-size:2.9px;fill:#333}"
    ".title{font-size:4.2px;font-weight:bold;fill:#111}.small{font-size:2.4px;fill:#666}.end{text-anchor:end}"
    ".middle{text-anchor:middle}.minor{stroke:#f6d3cc;stroke-width:.1}.major{stroke:#e7a598;stroke-width:.2}"
    ".trace{fill:none;stroke:#10141a;stroke-width:.28;stroke-linejoin:round;stroke-linecap:round}"
    ".trend{stroke:#124e8c;stroke-width:.4}.dot{fill:#124e8c}.mark{fill:#0b4f9e;font-weight:bold}"
    ".tick{stroke:#0b4f9e;stroke-width:.2;stroke-dasharray:.8 .8}.span{fill:#d33;fill-opacity:.13}"
    ".alarm{fill:#b3261e;font-weight:bold}.band{fill:#2e9e6b;fill-opacity:.1}.grid{stroke:#d5d9df;stroke-width:.12}"
    ".gap{fill:#8a8f98;fill-opacity:.16}.box{fill:none;stroke:#9aa1ab;stroke-width:.2}"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A label at an instant (ns UTC), or over a span when `until` is given."""

    time: int
    label: str
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Trend:
    """A vital sign over time: (ns UTC, value) by time, with the normal band to shade, if there is one."""

    label: str
    unit: str
    points: Sequence[tuple[int, float]]
    low: float | None = None
    high: float | None = None


def strip_svg(
    samples: Sequence[float],
    rate: float,
    unit: str,
    started_at: int,
    marks: Iterable[Mark] = (),
    *,
    title: str = "ECG",
) -> str:
    """Draw evenly sampled values (NaN where there is none) as a strip of ten seconds a row.

    `rate` in Hz, `started_at` in ns UTC. Millivolts keep the scale of ECG paper, other units fill the row.
    Raises ValueError for no samples or more than MAX_STRIP_SECONDS.
    """
    if not samples or rate <= 0 or len(samples) > MAX_STRIP_SECONDS * rate + 1:
        raise ValueError(f"a strip has samples for at most {MAX_STRIP_SECONDS} s")
    marks = _checked_marks(marks)
    seconds = len(samples) / rate
    scale = _Scale.of([sample for sample in samples if not math.isnan(sample)], unit)
    rows = math.ceil(seconds / ROW_SECONDS - 1e-9)
    width = PAPER_SPEED * min(ROW_SECONDS, max(2.5, math.ceil(seconds * 5) / 5))
    height = HEADER + rows * (scale.height + CAPTION) + FOOTER
    parts = [_text(MARGIN, 6.5, title, "title"), _text(MARGIN, 11, _moment(started_at), "")]
    parts.append(_text(MARGIN + width, 6.5, f"25 mm/s · {scale.caption}", "end"))
    parts.append(_text(MARGIN + width, 11, f"{_number(rate)} Hz · {_number(round(seconds, 2))} s", "end"))
    for row in range(rows):
        top = HEADER + row * (scale.height + CAPTION)
        first = math.ceil(row * ROW_SECONDS * rate - 1e-9)
        end = min(len(samples), math.ceil((row + 1) * ROW_SECONDS * rate - 1e-9) + 1)  # one more joins the rows
        began = started_at + row * ROW_SECONDS * SECOND
        offset = first / rate - row * ROW_SECONDS
        parts.append(_paper(MARGIN, top, width, scale.height))
        parts.append(f'<svg x="{MARGIN:g}" y="{top:g}" width="{width:g}" height="{scale.height:g}">')
        parts.extend(_drawn_marks(marks, began, PAPER_SPEED / SECOND, width, scale.height))
        parts.extend(_drawn_gaps(samples, first, end, rate, offset, scale.height))
        parts.append(f'<path class="trace" d="{_trace(samples, first, end, rate, offset, scale)}"/></svg>')
        parts.extend(_drawn_scale(scale, top))
        for second in range(int(min(ROW_SECONDS, seconds - row * ROW_SECONDS)) + 1):
            if second % 5 == 0:
                label = f"{datetime.fromtimestamp((began + second * SECOND) / SECOND, UTC):%H:%M:%S}"
                style = "small end" if second == ROW_SECONDS else "small"
                parts.append(_text(MARGIN + second * PAPER_SPEED, top + scale.height + 3.4, label, style))
    parts.append(
        _text(MARGIN, height - 3, "Apoyo a la decisión clínica; no sustituye a un electrocardiograma.", "small")
    )
    return _document(width + 2 * MARGIN, height, title, parts)


def trend_svg(
    trends: Sequence[Trend], start: int, stop: int, marks: Iterable[Mark] = (), *, title: str = "Constantes vitales"
) -> str:
    """Draw vital signs over [start, stop) ns UTC, a panel each; a line breaks where values fail for long.

    Raises ValueError for no trend, more than MAX_TRENDS, or an empty window.
    """
    if not 0 < len(trends) <= MAX_TRENDS or stop <= start:
        raise ValueError(f"a plot has 1 to {MAX_TRENDS} trends over a window")
    marks = _checked_marks(marks)
    step = TREND_HEIGHT + 7
    height = HEADER + len(trends) * step + FOOTER
    parts = [_text(MARGIN, 6.5, title, "title")]
    parts.append(_text(MARGIN, 11, f"{_moment(start)} – {_moment(stop)}", ""))
    pace = TREND_WIDTH / (stop - start)
    bottom = HEADER + len(trends) * step
    clock = [(MARGIN + (time - start) * pace, label) for time, label in _clock(start, stop)]
    for number, trend in enumerate(trends):
        parts.extend(_drawn_trend(trend, start, stop, HEADER + number * step + 4, [x for x, _ in clock], marks))
    parts.extend(_text(x, bottom + 0.8, label, "small middle") for x, label in clock)
    parts.append(_text(MARGIN, height - 3, "Horas en UTC. Banda verde: intervalo de referencia.", "small"))
    return _document(TREND_WIDTH + 2 * MARGIN, height, title, parts)


@dataclass(frozen=True, slots=True)
class _Scale:
    """How values of one unit become millimetres down from the top of a row."""

    height: float
    zero: float
    gain: float
    caption: str
    labels: tuple[tuple[float, str], ...]

    @classmethod
    def of(cls, values: Sequence[float], unit: str) -> "_Scale":
        ordered = sorted(values) or [0.0]
        low, high = ordered[int(len(ordered) * 0.001)], ordered[-1 - int(len(ordered) * 0.001)]
        factor = MILLIVOLTS.get(unit)
        if factor:
            gain = next((g for g in GAINS if (high - low) * factor * g <= ROW_HEIGHTS[1] - 10), GAINS[-1])
            needed = (high - low) * factor * gain + 10
            height = min(ROW_HEIGHTS[1], max(ROW_HEIGHTS[0], math.ceil(needed / 5) * 5.0))
            caption = f"{_number(gain)} mm/mV"
            gain *= factor
        else:
            height = ROW_HEIGHTS[0]
            gain = (height - 8) / ((high - low) or 1.0)
            caption = f"escala automática ({unit})" if unit else "escala automática"
        zero = height / 2 + (high + low) / 2 * gain
        labels = () if factor else ((high, _number(_rounded(high))), (low, _number(_rounded(low))))
        return cls(height, zero, gain, caption, labels)

    def y(self, value: float) -> float:
        return self.zero - value * self.gain


def _trace(samples: Sequence[float], first: int, end: int, rate: float, offset: float, scale: _Scale) -> str:
    """Return the path of samples[first:end]; a NaN lifts the pen."""
    step = PAPER_SPEED / rate
    per_column = max(1, int(rate / (PAPER_SPEED * COLUMNS_PER_MM)))
    path: list[str] = []
    down = False
    for column in range(first, end, per_column):
        for index in _extremes(samples, column, min(end, column + per_column)):
            value = samples[index]
            if math.isnan(value):
                down = False
                continue
            x, y = offset * PAPER_SPEED + (index - first) * step, scale.y(value)
            path.append(f"{'L' if down else 'M'}{x:.2f} {y:.2f}")
            down = True
    return "".join(path)


def _extremes(samples: Sequence[float], first: int, end: int) -> Sequence[int]:
    """Return the indices of the least and the greatest of a column by time; of the first if any is missing."""
    if end - first < 3 or any(map(math.isnan, samples[first:end])):
        return range(first, end)
    indices = range(first, end)
    return sorted({min(indices, key=samples.__getitem__), max(indices, key=samples.__getitem__)})


def _drawn_gaps(
    samples: Sequence[float], first: int, end: int, rate: float, offset: float, height: float
) -> Iterator[str]:
    """Shade the stretches without samples, with words where they have room."""
    index = first
    while index < end:
        if not math.isnan(samples[index]):
            index += 1
            continue
        began = index
        while index < end and math.isnan(samples[index]):
            index += 1
        x, width = (offset + (began - first) / rate) * PAPER_SPEED, (index - began) / rate * PAPER_SPEED
        yield f'<rect class="gap" x="{x:.2f}" width="{width:.2f}" height="{height:g}"/>'
        if width > 14:
            yield _text(x + width / 2, height / 2 + 1, "sin señal", "middle")


def _drawn_marks(marks: Sequence[Mark], began: int, pace: float, width: float, height: float) -> Iterator[str]:
    """Draw what of the marks falls on a row that begins at `began`; `pace` in mm per ns."""
    for mark in marks:
        x = (mark.time - began) * pace
        if mark.until is not None:
            left, right = max(0.0, x), min(width, (mark.until - began) * pace)
            if left < right:
                yield f'<rect class="span" x="{left:.2f}" width="{right - left:.2f}" height="{height:g}"/>'
                yield _text(left + 0.8, height - 1.2, mark.label, "alarm")
        elif 0 <= x < width:
            yield f'<path class="tick" d="M{x:.2f} 4V{height:g}"/>'
            yield _text(x, 3.2, mark.label, "mark middle")


def _drawn_scale(scale: _Scale, top: float) -> Iterator[str]:
    """Draw the pulse of 1 mV that shows the gain, or the values at top and bottom, left of a row."""
    for value, label in scale.labels:
        yield _text(MARGIN - 1, top + scale.y(value) + 0.9, label, "small end")
    if not scale.labels:
        pulse = float(scale.caption.split()[0].replace(",", "."))
        base = top + scale.height / 2 + pulse / 2
        yield f'<path class="trace" d="M3 {base:g}h1.5v{-pulse:g}h5v{pulse:g}h1.5"/>'
        yield _text(7, base + 3.2, "1 mV", "small middle")


def _drawn_trend(
    trend: Trend, start: int, stop: int, top: float, clock: Sequence[float], marks: Sequence[Mark]
) -> Iterator[str]:
    """Draw one panel: caption, reference band, grid, marks, line."""
    pace = TREND_WIDTH / (stop - start)
    points = [(time, value) for time, value in trend.points if start <= time < stop and math.isfinite(value)]
    low, high, ticks = _axis([value for _, value in points], trend.low, trend.high)

    def y_of(value: float) -> float:
        return (high - value) * TREND_HEIGHT / (high - low)

    box = f'x="{MARGIN:g}" y="{top:g}" width="{TREND_WIDTH:g}" height="{TREND_HEIGHT:g}"'
    yield _text(MARGIN, top - 1.2, f"{trend.label} ({trend.unit})" if trend.unit else trend.label, "")
    newest = f"último {_number(round(points[-1][1], 2))} {trend.unit}".rstrip() if points else "sin datos"
    yield _text(MARGIN + TREND_WIDTH, top - 1.2, newest, "end")
    if trend.low is not None or trend.high is not None:
        upper = y_of(high if trend.high is None else trend.high)
        lower = y_of(low if trend.low is None else trend.low)
        size = f'width="{TREND_WIDTH:g}" height="{lower - upper:.2f}"'
        yield f'<rect class="band" x="{MARGIN:g}" y="{top + upper:.2f}" {size}/>'
    for tick in ticks:
        yield f'<path class="grid" d="M{MARGIN:g} {top + y_of(tick):.2f}h{TREND_WIDTH:g}"/>'
        yield _text(MARGIN - 1, top + y_of(tick) + 0.9, _number(tick), "small end")
    yield "".join(f'<path class="grid" d="M{x:.2f} {top:g}v{TREND_HEIGHT:g}"/>' for x in clock)
    yield f"<svg {box}>"
    yield from _drawn_marks(marks, start, pace, TREND_WIDTH, TREND_HEIGHT)
    yield from _lines(points, start, pace, y_of)
    yield f'</svg><rect class="box" {box}/>'


def _lines(
    points: Sequence[tuple[int, float]], start: int, pace: float, y_of: Callable[[float], float]
) -> Iterator[str]:
    """Draw a trend, broken where two values are more than five usual intervals apart; single values as dots."""
    steps = [after[0] - before[0] for before, after in zip(points, points[1:], strict=False)]
    limit = 5 * median(steps) if steps else 0
    path: list[str] = []
    for run in _runs(points, limit):
        if len(run) == 1:
            x, y = (run[0][0] - start) * pace, y_of(run[0][1])
            yield f'<circle class="dot" cx="{x:.2f}" cy="{y:.2f}" r=".5"/>'
        else:
            drawn = ((time, value) for column in _columns(run, start, pace) for time, value in column)
            path.append("M" + "L".join(f"{(time - start) * pace:.2f} {y_of(value):.2f}" for time, value in drawn))
    if path:
        yield f'<path class="trace trend" d="{"".join(path)}"/>'


def _runs(points: Sequence[tuple[int, float]], limit: float) -> Iterator[list[tuple[int, float]]]:
    run: list[tuple[int, float]] = []
    for point in points:
        if run and point[0] - run[-1][0] > limit:
            yield run
            run = []
        run.append(point)
    if run:
        yield run


def _columns(run: Sequence[tuple[int, float]], start: int, pace: float) -> Iterator[list[tuple[int, float]]]:
    """Yield what to draw of each quarter millimetre: all of a few values, else the least and the greatest."""
    column: list[tuple[int, float]] = []
    current = -1
    for point in (*run, None):
        number = int((point[0] - start) * pace * 4) if point else -1
        if column and number != current:
            few = len(column) < 3
            yield column if few else sorted({min(column, key=lambda p: p[1]), max(column, key=lambda p: p[1])})
            column = []
        current = number
        if point:
            column.append(point)


def _axis(values: Sequence[float], *limits: float | None) -> tuple[float, float, list[float]]:
    """Return low and high ends and round ticks that hold the values and the limits."""
    held = [*values, *(limit for limit in limits if limit is not None)] or [0.0, 1.0]
    low, high = min(held), max(held)
    spread = (high - low) or max(1.0, abs(high) * 0.1)
    magnitude = 10 ** math.floor(math.log10(spread / 3))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= spread / 3)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    if high == low:
        high += step
    return low, high, [low + index * step for index in range(round((high - low) / step) + 1)]


def _clock(start: int, stop: int) -> Iterator[tuple[int, str]]:
    """Yield six or so round instants of a window with their labels."""
    steps = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400, 7 * 86400, 30 * 86400, 365 * 86400)
    seconds = (stop - start) / SECOND
    step = next((step for step in steps if seconds / step <= 8), steps[-1])
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%d/%m"
    first = -(-start // (step * SECOND)) * step
    for second in range(first, first + 20 * step, step):
        if second * SECOND < stop:
            yield second * SECOND, f"{datetime.fromtimestamp(second, UTC):{form}}"


def _checked_marks(marks: Iterable[Mark]) -> list[Mark]:
    marks = list(marks)
    if len(marks) > MAX_MARKS:
        raise ValueError(f"a plot has at most {MAX_MARKS} marks")
    return marks


def _paper(x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="#fffaf8"/>'
        f'<path class="minor" d="{_grid(x, y, width, height, 1)}"/>'
        f'<path class="major" d="{_grid(x, y, width, height, 5)}"/>'
    )


def _grid(x: float, y: float, width: float, height: float, step: int) -> str:
    columns = "".join(f"M{x + column:g} {y:g}v{height:g}" for column in range(0, int(width) + 1, step))
    return columns + "".join(f"M{x:g} {y + row:g}h{width:g}" for row in range(0, int(height) + 1, step))


def _document(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height:g}mm"'
        f' viewBox="0 0 {width:g} {height:g}" role="img"><title>{_escaped(title)}</title><style>{_STYLE}</style>'
        f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, words: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.2f}" y="{y:.2f}">{_escaped(words[:200])}</text>'


def _escaped(words: str) -> str:
    return escape(_FORBIDDEN.sub("�", words))


def _moment(time: int) -> str:
    return f"{datetime.fromtimestamp(time // SECOND, UTC):%d/%m/%Y %H:%M:%S} UTC"


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _number(value: float) -> str:
    """Write a number as Spanish does: a decimal comma, no needless zeros."""
    return f"{round(value, 6):.10g}".replace(".", ",")
