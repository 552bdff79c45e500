"""Axes and marks of charts."""

import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgclf.report.svg import Axis, Panel, log_ticks, round_ticks


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 10.0, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]),
        (0.71, 0.79, [0.72, 0.74, 0.76, 0.78]),
        (-30.0, 60.0, [-20.0, 0.0, 20.0, 40.0, 60.0]),
    ],
)
def test_round_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert round_ticks(low, high) == ticks


def test_log_ticks() -> None:
    assert log_ticks(0.0005, 2.0) == [0.001, 0.01, 0.1, 1.0]
    assert log_ticks(0.03, 0.3) == pytest.approx([0.05, 0.1, 0.2])
    assert log_ticks(2.1, 2.9) == [2.2, 2.4, 2.6, 2.8]


@given(st.lists(st.floats(), min_size=1, max_size=5), st.booleans())
def test_an_axis_holds_what_it_is_given(values: list[float], log: bool) -> None:
    axis = Axis.of(values, log=log)
    assert axis.low < axis.high
    assert 0 < len(axis.ticks) <= 8
    for value in values:
        if (1e-150 < value < 1e150) if log else (-1e150 < value < 1e150):
            assert -1e-6 <= axis.place(value) <= 1 + 1e-6
    for value, _ in axis.ticks:
        assert -1e-6 <= axis.place(value) <= 1 + 1e-6


def test_places() -> None:
    decades = Axis(0.01, 1.0, (), log=True)
    assert decades.place(0.1) == pytest.approx(0.5)
    assert Axis(-1.0, 3.0, ()).place(0.0) == 0.25
    names = Axis.of_categories(["a", "b"])
    assert [names.place(value) for value, _ in names.ticks] == [0.25, 0.75]
    assert [label for _, label in Axis.of([0.03, 3.0], log=True, at=[0.03, 0.3, 3]).ticks] == ["0.03", "0.3", "3"]
    assert all(value == int(value) for value, _ in Axis.of([1.0, 3.0], whole=True).ticks)


def panel() -> Panel:
    return Panel("t", Axis(0.0, 1.0, ()), Axis(0.0, 1.0, ()), width=170, height=172)  # 100 by 100 inside


def marks(of: Panel) -> ET.Element:
    found = ET.fromstring(of.svg()).find("svg")
    assert found is not None
    return found


def test_lines_and_bands_lie_where_they_should() -> None:
    chart = panel()
    chart.line([(0.0, 0.0), (0.5, 1.0), (1.0, 0.25)], "#123456")
    chart.band([(0.0, 0.0, 0.5), (1.0, 0.5, 1.0)], "#123456")
    drawn = marks(chart)
    assert drawn.find("polyline").attrib["points"] == "0.0,100.0 50.0,0.0 100.0,75.0"  # type: ignore[union-attr]
    assert drawn.find("polygon").attrib["points"] == "0.0,50.0 100.0,0.0 100.0,50.0 0.0,100.0"  # type: ignore[union-attr]


def test_a_line_has_a_gap_where_a_value_is_no_number() -> None:
    chart = panel()
    values = [0.0, 0.1, math.nan, 0.3, 0.4, math.inf, 0.6]
    chart.line([(i / 10, value) for i, value in enumerate(values)], "#000")
    drawn = marks(chart)
    assert [len(line.attrib["points"].split()) for line in drawn.iter("polyline")] == [2, 2]
    assert len(list(drawn.iter("circle"))) == 1, "a lone point is a dot"


def test_many_points_are_thinned_and_the_last_is_kept() -> None:
    chart = panel()
    chart.line([(i / 9999, i / 9999) for i in range(10_000)], "#000")
    places = marks(chart).find("polyline").attrib["points"].split()  # type: ignore[union-attr]
    assert len(places) <= 201
    assert places[-1] == "100.0,0.0"


def test_texts_are_escaped() -> None:
    text = "<script>&\"'"
    chart = Panel(text, Axis.of_categories([text], text), Axis.of([1.0], text))
    chart.dot(0.0, 1.0, "#000", text)
    chart.line([(0.0, 1.0), (0.1, 1.0)], "#000", text)
    assert "<script" not in chart.svg()
    ET.fromstring(chart.svg())
    assert len(re.findall("&lt;script&gt;", chart.svg())) >= 4
