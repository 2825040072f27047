"""Figures as rows of cells: exact sizes, sane ticks, every value survived."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpstui.domain.ticks import ticks
from mpstui.ui.charts.plotting import Figure, Line, Mark, StyledText, draw
from mpstui.ui.charts.view_state import Limits

MARK = "✗"

values = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 5e-324, 1e-310, 1e-30, 1.8e8, 1e300, 1.7e308, -1.7e308, math.nan]),
    st.floats(-10, 10),
)


@st.composite
def lines(draw_from: st.DrawFn) -> Line:
    ys = draw_from(st.lists(values, max_size=40))
    steps = st.lists(values, min_size=len(ys), max_size=len(ys))
    xs = draw_from(st.one_of(st.just([float(step) for step in range(len(ys))]), steps))
    return Line(tuple(xs), tuple(ys), draw_from(st.sampled_from(["series-1", "series-2", "faint"])))


limits = st.one_of(st.none(), st.tuples(values, values))


def text(row: list[StyledText]) -> str:
    return "".join(part for part, _ in row)


def curve(style: str = "series-1", count: int = 120, top: float = 2.5) -> Line:
    ys = tuple(top * math.exp(-step / 30) for step in range(count))
    return Line(tuple(float(step) for step in range(count)), ys, style)


def y_labels(rows: list[list[StyledText]]) -> list[str]:
    return [text(row).split("┤")[0].strip() for row in rows if "┤" in text(row)]


def x_labels(rows: list[list[StyledText]]) -> list[str]:
    return text(rows[-1]).split()


def styles(rows: list[list[StyledText]]) -> set[str]:
    return {style for row in rows for _, style in row}


def braille(rows: list[list[StyledText]], style: str) -> str:
    return "".join(
        part for row in rows for part, name in row if name == style and "⠀" < part[0] <= "⣿"
    )


@settings(max_examples=300, deadline=None)
@given(
    width=st.integers(10, 200),
    height=st.integers(4, 60),
    drawn=st.lists(lines(), max_size=3),
    marks=st.lists(st.builds(Mark, x=values, style=st.just("mark")), max_size=2),
    x_limits=limits,
    y_limits=limits,
    log_y=st.booleans(),
    whole_x=st.booleans(),
    caption=st.sampled_from(["", "loss", "throughput, samples/s"]),
)
def test_any_figure_fills_its_cells_exactly(
    width: int,
    height: int,
    drawn: list[Line],
    marks: list[Mark],
    x_limits: Limits | None,
    y_limits: Limits | None,
    log_y: bool,
    whole_x: bool,
    caption: str,
) -> None:
    figure = Figure(
        tuple(drawn),
        tuple(marks),
        x_limits,
        y_limits,
        log_y,
        whole_x=whole_x,
        caption=((caption, "label"),),
    )
    rows = draw(figure, width, height)
    assert [len(text(row)) for row in rows] == [width] * height
    assert styles(rows) <= {"", "axis", "label", "mark", *(line.style for line in drawn)}


@pytest.mark.parametrize("width", range(12))
@pytest.mark.parametrize("height", range(5))
def test_sizes_too_small_for_a_chart_are_filled_too(width: int, height: int) -> None:
    rows = draw(Figure((curve(),), (Mark(50, "mark"),)), width, height)
    assert [len(text(row)) for row in rows] == [width] * height


def test_each_curve_keeps_its_style() -> None:
    low = Line((0.0, 100.0), (1.0, 1.0), "series-2")
    high = Line((0.0, 100.0), (9.0, 9.0), "series-5")
    rows = draw(Figure((high, low), y_limits=(0, 10)), 60, 12)
    assert "series-5" in styles(rows[:2])
    assert "series-2" in styles(rows[-4:])
    assert "series-2" not in styles(rows[:2])
    assert len(braille(rows, "series-5")) == len(braille(rows, "series-2")) == 60 - 6


def test_curves_do_not_shift_the_styles_of_other_figures() -> None:
    draw(Figure((curve("a"), curve("b"))), 40, 10)
    assert braille(draw(Figure((curve("c"),)), 40, 10), "c")


def test_a_curve_reaches_all_four_edges() -> None:
    rows = draw(Figure((Line((0.0, 1.0), (0.0, 1.0), "s"),)), 40, 10)
    assert text(rows[0])[-1] in "⠈⠉⠊"  # the dot at the very top right
    assert text(rows[7])[6] in "⡀⡠⡄⣀"


def test_a_gap_is_not_drawn_across() -> None:
    ys = (1.0, 1.0, math.nan, math.nan, 1.0, 1.0)
    whole = Line((0.0, 1.0, 2.0, 3.0, 4.0, 5.0), (1.0,) * 6, "s")
    gapped = Line(whole.x, ys, "s")
    full, broken = (braille(draw(Figure((one,)), 56, 8), "s") for one in (whole, gapped))
    assert len(full) == 50
    assert 18 <= len(broken) <= 22


def test_infinity_is_a_gap_and_does_not_squeeze_the_rest() -> None:
    line = Line((0.0, 1.0, 2.0), (1.0, 2.0, math.inf), "s")
    assert y_labels(draw(Figure((line,)), 40, 12))[0] == "2.0"


def test_a_lone_point_between_gaps_is_a_dot() -> None:
    line = Line((0.0, 1.0, 2.0), (math.nan, 3.0, math.nan), "s")
    assert len(braille(draw(Figure((line,)), 40, 10), "s")) == 1


def test_values_beyond_the_limits_leave_the_picture() -> None:
    line = Line((0.0, 1.0, 2.0, 3.0), (1.0, 1e12, 1e12, 1.0), "s")
    rows = draw(Figure((line,), y_limits=(0, 2)), 60, 12)
    assert len(braille(rows[:1], "s")) < 10  # crossed, not walked along


@pytest.mark.parametrize("figure", [Figure(()), Figure((Line((), (), "s"),))])
def test_nothing_to_draw_leaves_axes_without_numbers(figure: Figure) -> None:
    rows = draw(figure, 40, 8)
    assert styles(rows) == {"", "axis"}
    assert text(rows[0])[5] == "│"


def test_equal_values_stand_in_the_middle_of_a_sane_range() -> None:
    line = Line((0.0, 10.0), (4.0, 4.0), "s")
    rows = draw(Figure((line,)), 40, 13)
    assert y_labels(rows) == ["6", "4", "2"]
    middle = next(row for row in rows if "4┤" in text(row))
    assert "s" in styles([middle])


@pytest.mark.parametrize("size", [(10, 4), (18, 5), (36, 5), (60, 15), (190, 30)])
def test_a_mark_is_seen_at_every_size(size: tuple[int, int]) -> None:
    full = Line((0.0, 100.0), (1.0, 1.0), "s")
    high = Line((0.0, 100.0), (2.0, 2.0), "s")
    rows = draw(Figure((full, high), (Mark(100, "mark"), Mark(0, "mark"))), *size)
    assert text(rows[0]).count(MARK) == 2
    assert text(rows[0])[-1] == MARK
    assert "mark" in styles(rows[:1])


def test_a_mark_stands_where_its_x_is() -> None:
    rows = draw(Figure((), (Mark(50, "mark"),), x_limits=(0, 100)), 107, 10)
    column = text(rows[0]).index(MARK)
    assert abs(column - (6 + 50)) <= 1
    assert text(rows[3])[column] == "┊"


def test_a_mark_out_of_view_is_not_drawn() -> None:
    rows = draw(Figure((curve(),), (Mark(500, "mark"),), x_limits=(0, 100)), 60, 10)
    assert MARK not in "".join(map(text, rows))


def test_a_mark_after_the_last_point_widens_the_axis() -> None:
    assert MARK in text(draw(Figure((curve(count=50),), (Mark(200, "mark"),)), 60, 10)[0])


@given(last=st.integers(1, 10_000_000), width=st.integers(20, 200))
@settings(max_examples=100, deadline=None)
def test_steps_have_whole_numbers(last: int, width: int) -> None:
    line = Line((0.0, float(last)), (1.0, 2.0), "s")
    labels = x_labels(draw(Figure((line,)), width, 8))
    assert labels
    for label in labels:
        number, _, exponent = label.replace("k", "e3").partition("e")
        value = float(number) * 10.0 ** int(exponent or 0)
        assert abs(value - round(value)) < 1e-6, label
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 2.4, ["0", "1", "2"]),
        (0.02, 0.31, ["0.1", "0.2", "0.3"]),
        (0, 120, ["0", "50", "100"]),
        (0, 5600, ["0", "2k", "4k"]),
        (0, 1600, ["0", "500", "1000", "1500"]),
        (12_000, 12_700, ["12.0k", "12.2k", "12.4k", "12.6k"]),
        (5100, 5180, ["5100", "5120", "5140", "5160", "5180"]),
        (0, 3.2e8, ["0", "1e8", "2e8", "3e8"]),
        (0, 5e-5, ["0", "2e-5", "4e-5"]),
        (-1, 1, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
    ],
)
def test_tick_labels_are_short_and_alike(low: float, high: float, labels: list[str]) -> None:
    assert [label for _, label in ticks(low, high, 5 if len(labels) > 4 else 4)] == labels


@given(
    low=st.floats(-1e12, 1e12),
    span=st.floats(1e-6, 1e12),
    most=st.integers(2, 10),
)
def test_ticks_are_distinct_within_the_range_and_at_least_two(
    low: float, span: float, most: int
) -> None:
    high = low + span
    if high - low < 1e-6 * abs(low):
        return
    found = ticks(low, high, most)
    assert 2 <= len(found) <= max(most, 5)
    assert all(low - span * 1e-6 <= value <= high + span * 1e-6 for value, _ in found)
    assert len({label for _, label in found}) == len(found)


def test_a_log_axis_shows_decades() -> None:
    ys = tuple(10.0 ** (8 * step / 99) for step in range(100))
    line = Line(tuple(float(step) for step in range(100)), ys, "s")
    rows = draw(Figure((line,), log_y=True), 60, 20)
    assert all(label.startswith("1e") for label in y_labels(rows))
    assert len(y_labels(rows)) >= 3


def test_a_log_axis_within_one_decade_still_has_two_labels() -> None:
    line = Line((0.0, 1.0), (2.0, 7.0), "s")
    assert len(y_labels(draw(Figure((line,), log_y=True), 60, 12))) >= 2


def test_values_that_have_no_logarithm_are_gaps() -> None:
    line = Line((0.0, 1.0, 2.0), (0.0, -1.0, 10.0), "s")
    assert len(braille(draw(Figure((line,), log_y=True), 60, 12), "s")) == 1


@pytest.mark.parametrize("top", [0.9, 2.4, 130.0, 4800.0, 52_000.0, 1.8e8])
def test_the_axis_does_not_move_when_the_scale_changes(top: float) -> None:
    rows = draw(Figure((curve(top=top),)), 60, 15)
    assert {text(row).index("│") for row in rows[:-2] if "│" in text(row)} == {5}


def test_small_charts_have_few_ticks_that_do_not_touch() -> None:
    rows = draw(Figure((curve(),)), 36, 5)
    assert 2 <= len(y_labels(rows)) <= 3
    assert "  " in text(rows[-1]).strip()


def test_only_the_left_and_the_lower_edge_have_an_axis() -> None:
    rows = draw(Figure(()), 40, 8)
    assert text(rows[0]) == " " * 5 + "│" + " " * 34
    assert text(rows[6]) == " " * 5 + "└" + "─" * 34


def test_the_caption_stands_in_the_x_axis() -> None:
    rows = draw(Figure((curve(),), caption=(("loss, ", "label"), ("nats", "series-1"))), 60, 10)
    assert text(rows[-2]).endswith("─ loss, nats ")
