"""The charts of Live: which runs are drawn where, and the keys that change how it is done."""

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
    """Draws the session's runs, and looks at them as a person chooses."""

    def __init__(self) -> None:
        super().__init__()
        self._session: RunSession | None = None
        self._panels: list[RunPanel] = []
        self._overlay: Overlay | None = None
        self._gap: GapStrip | None = None
        self._drawn: tuple[object, ...] = ()
        """Revisions, view, and widths of the gap strip and the charts at the last drawing."""
        self._remembered = home() / "view.json"
        self._view = load_view(self._remembered)

    async def sync(self) -> None:
        """Show what the session has read."""
        raise NotImplementedError

    # Drawing

    @property
    def _subjects(self) -> list[RunSeries]:
        return [panel.subject for panel in self._panels]

    @property
    def _whole(self) -> Limits:
        return whole_x(self._subjects, self._view)

    @property
    def _as_one(self) -> bool:
        return self._view.overlay or bool(self._view.enlarged)

    @property
    def _columns(self) -> list[ChartColumn]:
        if self._as_one and self._overlay is not None:
            return [self._overlay.charts]
        return [panel.charts for panel in self._panels]

    def _asked(self) -> tuple[object, ...]:
        taken = self._session.taken if self._session else 0
        gap = self._gap.size.width if self._gap else 0
        return (taken, self._view, gap, *(charts.size.width for charts in self._columns))

    def _draw(self, session: RunSession) -> None:
        drawing, columns, gap = self._asked(), self._columns, self._gap
        # What is not laid out yet has no columns to fill.
        if drawing == self._drawn or gap is None or not all(each.size.width for each in columns):
            return
        self._drawn = drawing
        subjects, view, whole = self._subjects, self._view, self._whole
        if view.enlarged:
            view = replace(view, charts=(view.enlarged,))
        ys = {name: y_limits(subjects, name, view) for name in view.charts}
        if self._as_one and self._overlay is not None:
            self._overlay.border_subtitle = WAY_BACK if self._view.enlarged else ""
            columns[0].draw(subjects, view, whole, ys)
        else:
            for charts, subject in zip(columns, subjects, strict=True):
                charts.draw([subject], view, whole, ys)
        if session.gaps:
            gap.draw_gaps(session, subjects, view, whole)

    def _arrange(self) -> None:
        """Show and hide what the view says."""
        self.set_class(self._view.overlay, "-overlay")
        self.set_class(bool(self._view.enlarged), "-enlarged")
        for pane in PANES:
            self.set_class(pane in self._view.hidden, f"-no-{pane}")

    def _look(self, view: ViewState) -> None:
        """Look at the charts in another way, at once, and remember it."""
        self._view = view
        self._arrange()
        save_view(self._remembered, view)
        self.call_after_refresh(self.sync)

    # What is shown

    def action_overlay(self) -> None:
        """All runs in one chart, or a panel each."""
        self._look(replace(self._view, overlay=not self._view.overlay))

    def action_enlarge(self) -> None:
        """One chart on the whole screen, or all again."""
        self._look(self._view.enlarge())

    def action_next_enlarged(self, by: int) -> None:
        """Another chart on the whole screen."""
        self._look(self._view.next_enlarged(by))

    def action_hide(self, pane: str) -> None:
        """Hide a pane, or show it again."""
        self._look(self._view.with_pane(pane))
        self.notify(f"{pane}: {'hidden' if pane in self._view.hidden else 'shown'}", timeout=2)

    @work
    async def action_choose_charts(self) -> None:
        """Choose which charts are shown."""
        from .charts_dialog import ChartsDialog

        charts = await self.app.push_screen_wait(ChartsDialog(self._view.charts))
        if charts is not None:
            enlarged = self._view.enlarged if self._view.enlarged in charts else ""
            self._look(replace(self._view, charts=charts, enlarged=enlarged))

    # How it is shown

    def action_axis(self) -> None:
        """The next x: step, samples, time."""
        self._look(self._view.next_axis())
        self.notify(f"x: {self._view.axis}", timeout=2)

    def action_log_y(self) -> None:
        """Log y where it helps, always, never."""
        self._look(self._view.next_log())
        self.notify(f"log y: {self._view.log_y}", timeout=2)

    def action_smooth(self) -> None:
        """Stronger smoothing, and none again."""
        self._look(self._view.next_smoothing())
        self.notify(f"smoothing: {self._view.smoothing:g}", timeout=2)

    # Where

    def action_zoom(self, inwards: bool) -> None:
        """Half or twice the part of x that is shown."""
        self._look(self._view.zoomed(self._whole, inwards))

    def action_everything(self) -> None:
        """Show all of x again, without a crosshair."""
        self._look(replace(self._view, window=None, cursor=None, follow=True))

    def action_move(self, share: float) -> None:
        """Move the crosshair, or without one the window."""
        if self._view.cursor is None:
            self._look(self._view.panned(self._whole, share * 10))
        else:
            self._look(self._view.pointed(self._whole, share))

    def action_crosshair(self) -> None:
        """A crosshair in every chart, or none."""
        if self._view.cursor is None:
            self._look(self._view.pointed(self._whole, 0.0))
        else:
            self._look(replace(self._view, cursor=None))

    def action_follow(self) -> None:
        """Follow the newest step, or hold still."""
        low_high = self._view.shown(self._whole)
        follow = not self._view.follow
        self._look(replace(self._view, follow=follow, window=self._view.window or low_high))
        self.notify("following the newest step" if follow else "holding still", timeout=2)

    def action_alarm(self) -> None:
        """Put the crosshair on the next alarm's step, and on the first after the last."""
        places = sorted(
            (float(Axis(subject, self._view.axis).of(np.array([float(alarm.step)]))[0]), words)
            for subject in self._subjects
            for alarm in subject.history.alarms
            for words in [f"{subject.name} {alarm.text}"]
        )
        if places:
            now = self._view.cursor
            later = [place for place in places if now is not None and place[0] > now]
            x, words = (later or places)[0]
            self._look(self._view.showing(self._whole, x))
            self.notify(words, timeout=2, markup=False)

    @on(Chart.Pointed)
    def _pointed(self, event: Chart.Pointed) -> None:
        low, high = self._view.shown(self._whole)
        self._look(replace(self._view, cursor=low + event.share * (high - low)))

    @on(Chart.Enlarged)
    def _enlarged(self, event: Chart.Enlarged) -> None:
        if event.chart in self._view.charts:
            self._look(self._view.enlarge(event.chart))

    @on(Chart.Zoomed)
    def _zoomed(self, event: Chart.Zoomed) -> None:
        low, high = self._view.shown(self._whole)
        around = low + event.share * (high - low)
        self._look(self._view.zoomed(self._whole, event.inwards, around))
