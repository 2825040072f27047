from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult

from mpstui.domain.anatomy import TIME_PARTS, Anatomy
from mpstui.ui.widgets.time_bar import EIGHTHS, NAMES, TimeBar, legend, stack_blocks


def made(**seconds: float) -> Anatomy:
    whole = {**dict.fromkeys(TIME_PARTS, 0.0), **seconds}
    return Anatomy(wall=sum(whole.values()), seconds=whole)


TYPICAL = made(data=3, forward=25, backward=45, optimizer=12, evaluation=3, waiting=12)


class BarApp(App[None]):
    def compose(self) -> ComposeResult:
        yield TimeBar()


def cells(blocks: str) -> float:
    return sum(EIGHTHS.index(block) / 8 for block in blocks)


def text(app: App[None]) -> str:
    return app.screen._compositor.render_strips()[0].text.rstrip()


async def test_it_says_that_nothing_was_profiled_and_then_shows_the_parts() -> None:
    app = BarApp()
    async with app.run_test(size=(38, 3)) as pilot:
        bar = app.query_one(TimeBar)
        await pilot.pause()
        assert text(app) == "time: no step profiled yet"
        bar.show(TYPICAL)
        await pilot.pause()
        line = text(app)
        assert len(line) <= 38
        places = [line.index(name) for name in ("data", "fwd", "bwd", "opt", "eval", "wait")]
        assert places == sorted(places)
        assert "copy" not in line  # nothing was copied
        assert "backward    45.0%" in str(bar.tooltip)
        await pilot.resize_terminal(80, 3)
        await pilot.pause()
        assert len(text(app)) > 60
        bar.show(None)
        await pilot.pause()
        assert text(app) == "time: no step profiled yet"


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "ansi-dark", "ansi-light"])
async def test_every_part_is_named_and_drawn_in_every_theme(theme: str) -> None:
    app = BarApp()
    async with app.run_test(size=(80, 3)) as pilot:
        app.theme = theme
        app.query_one(TimeBar).show(made(**dict.fromkeys(TIME_PARTS, 1.0)))
        await pilot.pause()
        strip = app.screen._compositor.render_strips()[0]
        for name in NAMES.values():
            assert name in strip.text
        for segment in strip:
            style = segment.style
            if "█" in segment.text and style is not None and style.color is not None:
                if theme.startswith("ansi"):  # the terminal's own sixteen, or its own foreground
                    assert style.color.is_system_defined or style.color.is_default
                else:
                    assert style.color != style.bgcolor


@given(
    shares=st.lists(st.floats(0, 1), min_size=8, max_size=8).filter(lambda all: sum(all) > 1e-3),
    width=st.integers(0, 120),
)
def test_the_bar_fits_its_width_and_no_part_in_it_is_without_blocks(
    shares: list[float], width: int
) -> None:
    anatomy = made(**dict(zip(TIME_PARTS, shares, strict=True)))
    bar = stack_blocks(anatomy, width)
    assert sum(len(NAMES[part]) + 1 + len(blocks) for part, blocks in bar) <= width
    assert all(blocks for _, blocks in bar)
    if width >= 38:
        assert bar


def test_blocks_are_as_long_as_the_shares() -> None:
    bar = dict(stack_blocks(made(forward=10, backward=20, waiting=30), 80))
    assert cells(bar["backward"]) == pytest.approx(2 * cells(bar["forward"]), abs=1 / 8)
    assert cells(bar["waiting"]) == pytest.approx(3 * cells(bar["forward"]), abs=1 / 4)


def test_small_parts_give_way_where_there_is_no_room() -> None:
    assert [part for part, _ in stack_blocks(TYPICAL, 18)] == ["forward", "backward", "waiting"]
    assert stack_blocks(TYPICAL, 3) == []
    assert "data" not in dict(stack_blocks(made(data=0.5, backward=99.5), 80))


def test_the_legend_has_every_part() -> None:
    lines = legend(TYPICAL).splitlines()
    assert [line.split()[0] for line in lines[:-1]] == list(TIME_PARTS)
