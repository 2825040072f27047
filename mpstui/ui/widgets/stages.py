"""The six stages of an investigation: their states, results and times."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content

from mpstui.domain.investigation import Stage
from mpstui.domain.units import duration
from mpstui.ui.model.inquiry import StageLine, StageState
from mpstui.ui.plain import Static

COLOURS = {
    StageState.WAITING: "$foreground-muted",
    StageState.UNDER_WAY: "bold $text-primary",
    StageState.DONE: "$text-success",
    StageState.CUT: "$text-error",
    StageState.LEFT_OUT: "$foreground-muted",
}
MUTED_STYLE = (StageState.WAITING, StageState.LEFT_OUT)

BAR = 16
"""The width of a progress bar in cells."""


class StageRow(Horizontal):
    """The row of one stage."""

    DEFAULT_CSS = """
    StageRow {
        height: auto;
        .mark { width: 11; }
        .text { width: 1fr; height: auto; }
        .seconds { width: 8; text-align: right; color: $foreground-muted; }
    }
    """

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._row_state: tuple[StageLine, bool] | None = None

    def compose(self) -> ComposeResult:
        """Mark and name, text, seconds."""
        yield Static(classes="mark")
        yield Static(classes="text")
        yield Static(classes="seconds")

    def show(self, line: StageLine, low: bool) -> None:
        """Show the stage's state; in one row on low screens."""
        if self._row_state == (line, low):
            return
        self._row_state = (line, low)
        style = COLOURS[line.state]
        name_style = (
            style
            if line.state in MUTED_STYLE
            else "bold"
            if line.state is StageState.UNDER_WAY
            else ""
        )
        mark = Content.assemble((f"{line.state.value} ", style), (line.stage.value, name_style))
        self.query_one(".mark", Static).update(mark)
        text = Content.styled(line.text, "$foreground-muted" if line.state in MUTED_STYLE else "")
        if line.fraction is not None:
            bar = _bar(line.fraction)
            text = bar + "  " + text if low else text + "\n" + bar
        self.query_one(".text", Static).update(text)
        self.query_one(".seconds", Static).update(Content(seconds(line.seconds)))


class StageList(Vertical):
    """The stages, a row each; in one line where the finding needs the space."""

    DEFAULT_CSS = """
    StageList {
        height: auto;
        #stages-line { height: auto; display: none; }
        &.-one-line #stages-line { display: block; }
        &.-one-line StageRow { display: none; }
        &.-low StageRow .text { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self) -> None:
        super().__init__(id="stages", classes="pane")

    def compose(self) -> ComposeResult:
        """Yield a row for each stage."""
        yield Static(id="stages-line")
        for stage in Stage:
            yield StageRow(id=stage.value)

    def on_mount(self) -> None:
        """Name the pane."""
        self.border_title = "Stages"

    def show(self, lines: Sequence[StageLine], low: bool) -> None:
        """Show the stages' states; each in one row on low screens."""
        self.set_class(low, "-low")
        for line, row in zip(lines, self.query(StageRow), strict=True):
            row.show(line, low)
        stage_marks = [
            Content.assemble((f"{line.state.value} ", COLOURS[line.state]), line.stage.value)
            for line in lines
        ]
        self.query_one("#stages-line", Static).update(Content("  ").join(stage_marks))
        stage_seconds = [line.seconds for line in lines if line.seconds is not None]
        self.border_subtitle = f"{seconds(sum(stage_seconds))} in all" if stage_seconds else ""


def seconds(value: float | None) -> str:
    """Return a stage's wall time as text; empty before it starts."""
    if value is None:
        return ""
    return f"{value:.1f} s" if value < 100 else duration(value)


def _bar(fraction: float) -> Content:
    full = round(min(max(fraction, 0.0), 1.0) * BAR)
    return Content.assemble(
        ("━" * full, "$text-primary"),
        ("━" * (BAR - full), "$foreground 25%"),
        f" {fraction:4.0%}",
    )
