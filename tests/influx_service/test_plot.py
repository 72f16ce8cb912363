"""Strips and trends are well-formed, to scale, escaped and bounded."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from influx_service.plot import SECOND, Mark, Trend, strip_svg, trend_svg

T0 = 1_760_000_000 * SECOND  # 2025-10-09 08:53:20 UTC
SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg):
    return ElementTree.fromstring(svg)


def words(svg):
    return [text.text for text in parsed(svg).iter(f"{SVG}text")]


def traces(svg):
    """The points of each row's trace in mm from the row's left and top."""
    paths = [path.get("d") for path in parsed(svg).findall(f".//{SVG}svg/{SVG}path") if path.get("class") == "trace"]
    return [[tuple(map(float, pair)) for pair in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path)] for path in paths]


def test_ecg_is_to_scale():
    pulse = [0.0] * 250 + [1.0] * 250 + [0.0] * 250
    for unit, factor in (("mV", 1), ("uV", 1000)):
        (trace,) = traces(strip_svg([value * factor for value in pulse], 250, unit, T0))
        (x0, y0), (x1, y1) = trace[0], trace[300]
        assert x1 - x0 == pytest.approx(300 / 250 * 25)
        assert y0 - y1 == pytest.approx(10)


def test_large_signals_halve_the_gain_and_say_so():
    svg = strip_svg([math.sin(index / 20) * 4 for index in range(750)], 250, "mV", T0)
    assert "25 mm/s · 5 mm/mV" in words(svg)
    (trace,) = traces(svg)
    heights = [y for _, y in trace]
    assert max(heights) - min(heights) == pytest.approx(8 * 5, abs=0.1)


def test_other_units_fill_the_row_with_their_values_beside():
    svg = strip_svg([60 + index % 60 for index in range(600)], 125, "mmHg", T0, title="Presión arterial")
    assert {"escala automática (mmHg)", "119", "60"} <= {word.removeprefix("25 mm/s · ") for word in words(svg)}


def test_ten_seconds_a_row_in_one_piece():
    rows = traces(strip_svg([math.sin(index / 30) for index in range(360 * 25)], 360, "mV", T0))
    assert len(rows) == 3
    assert [round(row[-1][0]) for row in rows] == [250, 250, 125]
    assert rows[0][-1][1] == rows[1][0][1]


def test_times_are_utc():
    assert {"09/10/2025 08:53:20 UTC", "08:53:25", "360 Hz · 10 s"} <= set(
        words(strip_svg([0.0] * 3600, 360, "mV", T0))
    )


def test_a_gap_lifts_the_pen():
    samples = [0.0] * 250 + [math.nan] * 250 + [0.0] * 250
    svg = strip_svg(samples, 250, "mV", T0)
    assert "sin señal" in words(svg)
    (path,) = re.findall(r'<path class="trace" d="([^"]*)"/></svg>', svg)
    assert path.count("M") == 2
    assert "nan" not in svg


def test_nothing_but_gaps_still_draws():
    assert "sin señal" in words(strip_svg([math.nan] * 750, 250, "mV", T0))


def test_marks_stand_at_their_time():
    svg = strip_svg([0.0] * 2500, 250, "mV", T0, [Mark(T0 + 2 * SECOND, "V"), Mark(T0 + SECOND, "TV", T0 + 3 * SECOND)])
    assert '<path class="tick" d="M50.00 4' in svg
    assert '<rect class="span" x="25.00" width="50.00"' in svg
    assert {"V", "TV"} <= set(words(svg))


def test_everything_is_escaped():
    evil = "<script>alert('x')</script>&\x00\ud800\""
    strip = strip_svg([0.0] * 500, 250, evil, T0, [Mark(T0, evil), Mark(T0, evil, T0 + SECOND)], title=evil)
    trend = trend_svg([Trend(evil, evil, [(T0, 1.0)])], T0, T0 + SECOND, [Mark(T0, evil)], title=evil)
    for svg in (strip, trend):
        assert "<script" not in svg
        svg.encode("utf-8")
        assert any("<script>alert('x')</script>&" in word for word in words(svg))


def test_size_is_bounded_and_extremes_survive():
    samples = [0.0] * (1000 * 60)
    samples[31_234] = 2.0
    svg = strip_svg(samples, 1000, "mV", T0)
    assert len(svg) < 700_000
    tallest = min(y for row in traces(svg) for _, y in row)
    assert max(y for row in traces(svg) for _, y in row) - tallest == pytest.approx(20)
    day = [(T0 + second * SECOND, math.sin(second / 500)) for second in range(86_400)]
    assert len(trend_svg([Trend("HR", "lpm", day)], T0, T0 + 86_400 * SECOND)) < 60_000


@pytest.mark.parametrize("samples, rate", [([], 250), ([0.0] * 15_002, 250), ([0.0], 0)])
def test_unfit_strips_are_refused(samples, rate):
    with pytest.raises(ValueError, match="strip"):
        strip_svg(samples, rate, "mV", T0)


def test_too_many_marks_and_trends_are_refused():
    with pytest.raises(ValueError, match="marks"):
        strip_svg([0.0], 250, "mV", T0, [Mark(T0, "V")] * 201)
    for trends, stop in (([], T0 + 1), ([Trend("HR", "", [])] * 9, T0 + 1), ([Trend("HR", "", [])], T0)):
        with pytest.raises(ValueError, match="trends"):
            trend_svg(trends, T0, stop)


def test_a_trend_breaks_where_values_fail_for_long():
    points = [(T0 + second * SECOND, 70.0) for second in range(300) if not 100 <= second < 160]
    svg = trend_svg([Trend("Frecuencia cardiaca", "lpm", points, 50, 110)], T0, T0 + 300 * SECOND)
    (path,) = re.findall(r'<path class="trace trend" d="([^"]*)"', svg)
    assert path.count("M") == 2
    assert {"Frecuencia cardiaca (lpm)", "último 70 lpm"} <= set(words(svg))


def test_trends_of_one_value_or_none():
    svg = trend_svg([Trend("Temperatura", "°C", [(T0, 36.85)]), Trend("SpO₂", "%", [])], T0, T0 + 3600 * SECOND)
    assert svg.count("<circle") == 1
    assert {"último 36,85 °C", "sin datos"} <= set(words(svg))


@pytest.mark.parametrize("seconds", [1, 7, 60, 3600, 86_400, 30 * 86_400, 4000 * 86_400])
def test_the_clock_has_a_few_round_labels(seconds):
    svg = trend_svg([Trend("HR", "", [])], T0, T0 + seconds * SECOND)
    labels = [word for word in words(svg) if re.fullmatch(r"\d\d[:/]\d\d(:\d\d)?", word)]
    assert len(labels) <= 20
    assert len(labels) >= (2 if seconds >= 7 else 0)
