"""Text and marks can be read on every row, in the dark and in the light theme."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.app import App
from textual.color import Color
from textual.theme import BUILTIN_THEMES

from mpstui.runs.rundir import RunDir
from mpstui.ui.app import MpstuiApp
from mpstui.ui.contrast import LEAST, TEXT, contrast, with_contrast

from tests.ui.contrast import faint_text  # isort: skip
from tests.ui.test_snapshots import settle, shown  # isort: skip

MakeApp = Callable[..., MpstuiApp]
MakeRuns = Callable[..., list[RunDir]]


def test_the_ratio_is_that_of_the_standard() -> None:
    assert contrast(Color.parse("black"), Color.parse("white")) == pytest.approx(21.0)
    assert contrast(Color.parse("#777777"), Color.parse("white")) == pytest.approx(4.48, abs=0.01)
    assert contrast(Color.parse("red"), Color.parse("red")) == 1.0


@pytest.mark.parametrize("theme", [theme for theme in BUILTIN_THEMES if "ansi" not in theme])
def test_text_of_every_theme_can_be_read_on_its_grounds(theme: str) -> None:
    app = App[None]()
    app.theme = theme
    variables = with_contrast(app.get_css_variables())
    for ground in (Color.parse(variables[name]) for name in ("background", "surface", "panel")):
        for name in TEXT:
            assert contrast(ground + Color.parse(variables[name]), ground) >= LEAST, name


def test_colours_that_the_terminal_chooses_are_left_alone() -> None:
    app = App[None]()
    app.theme = "ansi-dark"
    variables = app.get_css_variables()
    assert with_contrast(variables) == variables


@pytest.mark.parametrize(
    ("kind", "size", "keys"),
    [
        ("running", (200, 60), "cm"),
        ("running", (120, 40), "zc"),
        ("diverged", (200, 60), "a"),
        ("diverged", (120, 40), "o"),
        ("parted", (80, 24), ""),
        ("paused", (80, 24), ""),
        ("finished", (120, 40), ""),
        ("crashed", (120, 40), ""),
    ],
)
async def test_live_can_be_read(
    make_app: MakeApp, make_runs: MakeRuns, kind: str, size: tuple[int, int], keys: str
) -> None:
    make_runs("vae", "cpu,mps,cpu@threads=1", kind)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await shown("3", "textual-dark", *keys)(pilot)
        assert faint_text(app) == []
        app.theme = "textual-light"
        await settle(pilot)
        assert faint_text(app) == []
