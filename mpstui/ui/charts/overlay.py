"""All runs in one set of charts, distinguished by colour; and the gaps between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from mpstui.domain.loss_gap import OFF_COURSE
from mpstui.domain.units import number
from mpstui.ui.model.session import RunSession
from mpstui.ui.plain import Static

from .column import ChartColumn
from .figures import Axis, RunSeries
from .plotting import Figure, Line, Mark, StyledText
from .view_state import Limits, ViewState
from .widget import Chart


class Overlay(Vertical):
    """A column of charts for several runs, with a legend."""

    DEFAULT_CSS = """
    Overlay {
        width: 100%;
        height: 1fr;
        #legend { height: 1; }
        ChartColumn { height: 1fr; }
    }
    """

    def __init__(self, session: RunSession) -> None:
        super().__init__(classes="pane", id="overlay")
        self._session = session
        self.charts = ChartColumn(session.views[0].config.info.loss_unit)
        """The column of charts."""

    def compose(self) -> ComposeResult:
        """Yield the legend above the charts."""
        yield Static(id="legend")
        yield self.charts

    def on_mount(self) -> None:
        """Name the colours."""
        self.border_title = "All runs" if len(self._session.shown_views) > 1 else "The run"
        self._name_colours()

    def notify_style_update(self) -> None:
        """Redraw the legend with the new colours."""
        super().notify_style_update()
        if self.is_mounted:
            self.call_later(self._name_colours)  # the styles are only updated after this

    def _name_colours(self) -> None:
        loss = self.charts.of("loss")
        parts = [
            Content.assemble(("━━ ", loss.colour(f"series-{number}")), view.config.label)
            for number, view in enumerate(self._session.shown_views, 1)
        ]
        self.query_one("#legend", Static).update(Content("   ").join(parts), layout=False)


class GapStrip(Chart):
    """The gap of each run's loss to its reference's, over the same steps."""

    DEFAULT_CSS = """
    GapStrip { height: 6; margin: 0 1; display: none; }
    """

    def __init__(self, first: str) -> None:
        super().__init__(
            f"gap to {first}", "share of its loss", "20 common steps are needed", "gap"
        )

    def draw_gaps(
        self, session: RunSession, subjects: Sequence[RunSeries], state: ViewState, full_x: Limits
    ) -> None:
        """Show the gaps on a log axis, with the bound that raises the alarm."""
        lines: list[Line] = []
        marks = [] if state.cursor is None else [Mark(state.cursor, "label", "┃")]
        readout: list[StyledText] = []
        start, end = state.visible_range(full_x)
        for gap in session.gaps:
            subject = subjects[gap.position]
            name = f"{subject.name} " if len(subjects) > 2 else ""
            axis = Axis(subject, state.axis)
            x, y = gap.series.points(max(self.size.width, 8))
            lines.append(Line(tuple(axis.of(x).tolist()), tuple(y.tolist()), subject.style))
            newest, alarm = gap.series.last(), gap.monitor.diverged
            if alarm is not None:
                at = axis.of(np.array([float(alarm.step)]))
                marks.append(Mark(float(at[0]), "mark", "▲"))
                message = f"▲ {name}diverged at step {alarm.step:,}, gap {number(alarm.gap)}"
                readout += [("  ", ""), (message, "mark")]
            elif newest is not None:
                readout += [("  ", ""), (f"{name}{number(newest)}, within bounds", subject.style)]
        if not any(line.x for line in lines):
            self.show(None)
            return
        bound = Line((start, end), (OFF_COURSE, OFF_COURSE), "faint")
        figure = Figure(
            lines=(bound, *lines),
            marks=tuple(marks),
            x_limits=(start, end),
            y_limits=None,
            log_y=True,
            whole_x=state.axis != "time",
        )
        self.show(figure, tuple(readout[1:]))
