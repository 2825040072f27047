"""The chart widget: draws when something changed, in the theme's colours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.strip import Strip

from mpstui.ui.charts import widget as module
from mpstui.ui.charts.plotting import Figure, Line, Mark, StyledText, draw
from mpstui.ui.charts.widget import Chart

from tests.ui.painted import repainted, rows  # isort: skip

LINE = Line((0.0, 10.0, 20.0), (3.0, 2.0, 1.0), "series-1")
FIGURE = Figure((LINE,))


class ChartApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Chart("loss", unit="nats", empty="waiting for the first steps")


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes of all drawings so far."""
    sizes: list[tuple[int, int]] = []

    def counted(figure: Figure, width: int, height: int) -> list[list[StyledText]]:
        sizes.append((width, height))
        return draw(figure, width, height)

    monkeypatch.setattr(module, "draw", counted)
    return sizes


def strips(chart: Chart) -> list[Strip]:
    return [chart.render_line(row) for row in range(chart.size.height)]


def screen_text(app: App[None]) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def colours(chart: Chart, char: str) -> set[str]:
    return {
        segment.style.color.name
        for strip in strips(chart)
        for segment in strip
        if char in segment.text and segment.style and segment.style.color
    }


async def test_it_draws_only_when_something_changed(draws: list[tuple[int, int]]) -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 20)) as pilot:
        chart = app.query_one(Chart)
        assert draws == []
        chart.show(FIGURE)
        await pilot.pause()
        assert draws == [(60, 19)]
        chart.show(Figure((LINE,)))  # equal, though another object
        chart.refresh()
        await pilot.pause()
        strips(chart)
        assert len(draws) == 1
        chart.show(Figure((LINE,), (Mark(20.0, "mark"),)))
        await pilot.pause()
        assert len(draws) == 2
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert draws[-1] == (80, 23)


async def test_every_row_is_as_wide_as_the_widget() -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 20)) as pilot:
        chart = app.query_one(Chart)
        for figure in (None, FIGURE):
            chart.show(figure)
            await pilot.pause()
            assert [strip.cell_length for strip in strips(chart)] == [60] * 19
            assert [len(strip.text) for strip in strips(chart)] == [60] * 19


async def test_it_says_what_it_waits_for_in_the_middle() -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 20)) as pilot:
        chart = app.query_one(Chart)
        rows = [strip.text for strip in strips(chart)]
        (row,) = (place for place, text in enumerate(rows) if text.strip())
        assert row == 19 // 2
        assert rows[row] == "waiting for the first steps".center(60)
        chart.show(FIGURE)
        await pilot.pause()
        assert "waiting" not in screen_text(app)
        chart.show(None)
        await pilot.pause()
        assert "waiting" in screen_text(app)


async def test_a_tall_chart_has_its_title_above_and_a_low_one_in_its_axis() -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.query_one(Chart).show(FIGURE)
        await pilot.pause()
        assert "loss, nats" in screen_text(app).splitlines()[0]
        await pilot.resize_terminal(60, 6)
        await pilot.pause()
        lines = screen_text(app).splitlines()
        assert "loss, nats" not in lines[0]
        assert lines[4].rstrip().endswith("─ loss, nats")


async def test_series_differ_in_colour_and_follow_the_theme() -> None:
    app = ChartApp()
    styles = [f"series-{number}" for number in range(1, 7)]
    async with app.run_test(size=(60, 20)) as pilot:
        chart = app.query_one(Chart)
        chart.show(FIGURE)
        seen = []
        for theme in ("textual-dark", "textual-light", "ansi-dark", "ansi-light"):
            app.theme = theme
            await pilot.pause()
            of_series = [
                chart.get_component_rich_style(f"chart--{style}").color for style in styles
            ]
            assert len(set(of_series)) == 6, theme
            (drawn,) = colours(chart, "⠉")
            assert of_series[0] is not None
            assert drawn == of_series[0].name
            seen.append(drawn)
        assert seen[0] != seen[1]


async def test_a_theme_switch_needs_no_new_figure(draws: list[tuple[int, int]]) -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 20)) as pilot:
        chart = app.query_one(Chart)
        chart.show(FIGURE)
        await pilot.pause()
        axis = colours(chart, "│")
        app.theme = "textual-light"
        await pilot.pause()
        assert colours(chart, "│") != axis


async def test_only_rows_that_changed_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 20)) as pilot:
        chart = app.query_one(Chart)
        chart.show(FIGURE)
        await pilot.pause()
        before = strips(chart)
        asked: list[Region] = []
        monkeypatch.setattr(chart, "refresh", lambda *regions: asked.extend(regions))
        # The same ends, and a bend that the rows near the top do not see.
        chart.show(Figure((Line((0.0, 10.0, 18.0, 20.0), (3.0, 2.0, 1.0, 1.0), "series-1"),)))
        others = [y for y, (a, b) in enumerate(zip(before, strips(chart), strict=True)) if a != b]
        assert 0 < len(others) < 10
        assert asked == [Region(0, y, 60, 1) for y in others]  # Textual adds the title's row
        asked.clear()
        chart.show(
            Figure((Line((0.0, 10.0, 18.0, 20.0), (3.0, 2.0, 1.0, 1.0 + 1e-9), "series-1"),))
        )
        assert asked == []


async def test_markup_in_a_title_is_text() -> None:
    class Odd(App[None]):
        def compose(self) -> ComposeResult:
            yield Chart("loss [nats]")

    app = Odd()
    async with app.run_test(size=(60, 20)):
        assert "loss [nats]" in screen_text(app)


async def test_a_low_chart_says_its_name_and_values_before_the_place() -> None:
    app = ChartApp()
    readout = (("0.0769", "series-1"), (" · ", "label"), ("nan", "series-2"), (" at 702", "label"))
    async with app.run_test(size=(60, 6)) as pilot:
        chart = app.query_one(Chart)
        chart.show(FIGURE, readout)
        for width, words in (
            (60, "loss 0.0769 · nan at 702"),
            (30, "loss 0.0769 · nan"),
            (22, "0.0769 · nan"),
            (18, "loss"),
        ):
            await pilot.resize_terminal(width, 6)
            await pilot.pause()
            axis = screen_text(app).splitlines()[4].lstrip("└┬─ ")
            assert axis.rstrip() == words


POINTS = st.lists(st.floats(-3.0, 1e6), min_size=1, max_size=5)
LINES = POINTS.map(lambda ys: Line(tuple(map(float, range(len(ys)))), tuple(ys), "series-1"))
MARKS = st.lists(st.builds(Mark, st.floats(0.0, 5.0), st.just("mark")), max_size=2)
FIGURES = st.builds(
    Figure,
    st.lists(LINES, min_size=1, max_size=2).map(tuple),
    MARKS.map(tuple),
    log_y=st.booleans(),
)
READOUTS = st.sampled_from(
    [(), (("0.5", "series-1"), (" at step 3", "label")), (("nan", "series-2"), (" at 4", "label"))]
)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.none() | FIGURES, READOUTS),
        st.tuples(st.integers(8, 40), st.integers(1, 16)),
        st.sampled_from(["textual-dark", "textual-light"]),
    ),
    min_size=1,
    max_size=2,
)


@settings(max_examples=40, deadline=None, derandomize=True, phases=[Phase.generate])
@given(st.lists(CHANGES, min_size=2, max_size=8))
async def test_what_is_painted_equals_a_full_repaint(turns: list[list[Any]]) -> None:
    """After any sequence of figures, readouts, sizes and themes, several at once or one by one."""
    app = ChartApp()
    async with app.run_test(size=(42, 18)) as pilot:
        chart = app.query_one(Chart)
        for turn in turns:
            for change in turn:
                match change:
                    case (int(width), int(height)):
                        chart.styles.width, chart.styles.height = width, height
                    case (figure, tuple(readout)):
                        chart.show(figure, readout)
                    case theme:
                        app.theme = theme
            await pilot.pause()
            assert rows(app) == repainted(app)
