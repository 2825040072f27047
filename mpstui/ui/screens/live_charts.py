"""The charts of Live: where runs are drawn, and the keys that change the view."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace
from textual import on, work

from mpstui.runs.paths import home
from mpstui.ui.charts.column import ChartColumn
from mpstui.ui.charts.figures import Axis, RunSeries, whole_x, y_limits
from mpstui.ui.charts.overlay import GapStrip, Overlay
from mpstui.ui.charts.view_state import PANES, Limits, ViewState, load_view, save_view
from mpstui.ui.charts.widget import Chart
from mpstui.ui.model.session import RunSession
from mpstui.ui.widgets.run_panel import RunPanel

from .main_screen import MainScreen

WAY_BACK = "z all charts · ↑ ↓ another chart"


class LiveCharts(MainScreen):
    """The part of Live that draws the session's runs with the user's view settings."""

    def __init__(self) -> None:
        super().__init__()
        self._session: RunSession | None = None
        self._panels: list[RunPanel] = []
        self._overlay: Overlay | None = None
        self._gap: GapStrip | None = None
        self._drawing_key: tuple[object, ...] = ()
        """Event count, view, and widths of the gap strip and the charts at the last drawing."""
        self._view_path = home() / "view.json"
        self._view = load_view(self._view_path)

    async def sync(self) -> None:
        """Show what the session has read."""
        raise NotImplementedError

    # Drawing

    @property
    def _subjects(self) -> list[RunSeries]:
        return [panel.subject for panel in self._panels]

    @property
    def _full_x(self) -> Limits:
        return whole_x(self._subjects, self._view)

    @property
    def _recorded_names(self) -> list[str]:
        """The series of recorded scripts on screen."""
        histories = [subject.history for subject in self._subjects]
        return list(dict.fromkeys(name for h in histories for name in h.recorded_series))

    @property
    def _as_one(self) -> bool:
        return self._view.overlay or bool(self._view.enlarged)

    @property
    def _columns(self) -> list[ChartColumn]:
        if self._as_one and self._overlay is not None:
            return [self._overlay.charts]
        return [panel.charts for panel in self._panels]

    def _drawing_inputs(self) -> tuple[object, ...]:
        event_count = self._session.event_count if self._session else 0
        gap = self._gap.size.width if self._gap else 0
        return (event_count, self._view, gap, *(charts.size.width for charts in self._columns))

    def _draw(self, session: RunSession) -> None:
        drawing, columns, gap = self._drawing_inputs(), self._columns, self._gap
        # Charts without a layout have no columns yet.
        if (
            drawing == self._drawing_key
            or gap is None
            or not all(column.size.width for column in columns)
        ):
            return
        self._drawing_key = drawing
        subjects, view, full_x = self._subjects, self._view, self._full_x
        if view.enlarged:
            view = replace(view, charts=(view.enlarged,))
        ys = {name: y_limits(subjects, name, view) for name in view.charts}
        if self._as_one and self._overlay is not None:
            self._overlay.border_subtitle = WAY_BACK if self._view.enlarged else ""
            columns[0].draw(subjects, view, full_x, ys)
        else:
            for charts, subject in zip(columns, subjects, strict=True):
                charts.draw([subject], view, full_x, ys)
        if session.gaps:
            gap.draw_gaps(session, subjects, view, full_x)

    def _arrange(self) -> None:
        """Show and hide panes as the view requires."""
        self.set_class(self._view.overlay, "-overlay")
        self.set_class(bool(self._view.enlarged), "-enlarged")
        for pane in PANES:
            self.set_class(pane in self._view.hidden, f"-no-{pane}")

    def _apply_view(self, view: ViewState) -> None:
        """Apply a view immediately, and save it."""
        self._view = view
        self._arrange()
        self.call_after_refresh(self.sync)
        save_view(self._view_path, view)

    # Visible charts and panes

    def action_overlay(self) -> None:
        """Show all runs in one chart, or a panel each."""
        self._apply_view(replace(self._view, overlay=not self._view.overlay))

    def action_enlarge(self) -> None:
        """Enlarge one chart to the whole screen, or show all again."""
        self._apply_view(self._view.enlarge())

    def action_next_enlarged(self, by: int) -> None:
        """Enlarge another chart."""
        self._apply_view(self._view.next_enlarged(by))

    def action_hide(self, pane: str) -> None:
        """Hide a pane, or show it again."""
        self._apply_view(self._view.with_pane(pane))
        self.notify(f"{pane}: {'hidden' if pane in self._view.hidden else 'shown'}", timeout=2)

    @work
    async def action_choose_charts(self) -> None:
        """Select which charts are shown."""
        from .charts_dialog import ChartsDialog

        charts = await self.app.push_screen_wait(
            ChartsDialog(self._view.charts, self._recorded_names)
        )
        if charts is not None:
            enlarged = self._view.enlarged if self._view.enlarged in charts else ""
            self._apply_view(replace(self._view, charts=charts, enlarged=enlarged))

    # Axis and scale

    def action_axis(self) -> None:
        """Switch x to the next axis: step, samples, time."""
        self._apply_view(self._view.next_axis())
        self.notify(f"x: {self._view.axis}", timeout=2)

    def action_log_y(self) -> None:
        """Switch log y: where it helps, always, never."""
        self._apply_view(self._view.next_log())
        self.notify(f"log y: {self._view.log_y}", timeout=2)

    def action_smooth(self) -> None:
        """Switch to stronger smoothing, and after the strongest to none."""
        self._apply_view(self._view.next_smoothing())
        self.notify(f"smoothing: {self._view.smoothing:g}", timeout=2)

    # Position in the run

    def action_zoom(self, inwards: bool) -> None:
        """Halve or double the visible part of x."""
        self._apply_view(self._view.zoom(self._full_x, inwards))

    def action_everything(self) -> None:
        """Show all of x again, without a crosshair."""
        self._apply_view(replace(self._view, window=None, cursor=None, follow=True))

    def action_move(self, share: float) -> None:
        """Move the crosshair, or without one the window."""
        if self._view.cursor is None:
            self._apply_view(self._view.pan(self._full_x, share * 10))
        else:
            self._apply_view(self._view.move_cursor(self._full_x, share))

    def action_crosshair(self) -> None:
        """Show or hide the crosshair in every chart."""
        if self._view.cursor is None:
            self._apply_view(self._view.move_cursor(self._full_x, 0.0))
        else:
            self._apply_view(replace(self._view, cursor=None))

    def action_follow(self) -> None:
        """Follow the newest step, or stop following."""
        low_high = self._view.visible_range(self._full_x)
        follow = not self._view.follow
        self._apply_view(replace(self._view, follow=follow, window=self._view.window or low_high))
        self.notify("following the newest step" if follow else "not following", timeout=2)

    def action_alarm(self) -> None:
        """Put the crosshair on the next alarm's step; after the last, on the first."""
        places = sorted(
            (float(Axis(subject, self._view.axis).of(np.array([float(alarm.step)]))[0]), message)
            for subject in self._subjects
            for alarm in subject.history.alarms
            for message in [f"{subject.name} {alarm.text}"]
        )
        if places:
            cursor = self._view.cursor
            later = [place for place in places if cursor is not None and place[0] > cursor]
            x, message = (later or places)[0]
            self._apply_view(self._view.with_cursor_at(self._full_x, x))
            self.notify(message, timeout=2)

    @on(Chart.Pointed)
    def _pointed(self, event: Chart.Pointed) -> None:
        low, high = self._view.visible_range(self._full_x)
        self._apply_view(replace(self._view, cursor=low + event.share * (high - low)))

    @on(Chart.Enlarged)
    def _enlarged(self, event: Chart.Enlarged) -> None:
        if event.chart in self._view.charts:
            self._apply_view(self._view.enlarge(event.chart))

    @on(Chart.Zoomed)
    def _zoomed(self, event: Chart.Zoomed) -> None:
        low, high = self._view.visible_range(self._full_x)
        around = low + event.share * (high - low)
        self._apply_view(self._view.zoom(self._full_x, event.inwards, around))
