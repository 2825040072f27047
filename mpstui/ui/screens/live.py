"""Live: the runs side by side, the machine under them, the log at the bottom."""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Center, Horizontal, Vertical
from textual.widgets import Footer, Log, Static

from mpstui.runs.paths import home
from mpstui.ui.actions import bindings
from mpstui.ui.figures import whole_x, y_limits
from mpstui.ui.session import Session
from mpstui.ui.view_state import Limits, ViewState, load_view, save_view
from mpstui.ui.widgets.chart import Chart
from mpstui.ui.widgets.charts import Charts
from mpstui.ui.widgets.overlay import GapStrip, Overlay
from mpstui.ui.widgets.run_panel import RunPanel
from mpstui.ui.widgets.system_strip import SystemStrip

from .base import MainScreen

EMPTY = "No run yet.  Press  n  to set one up, or start one with  mpstui train."

FIT_SECONDS = 0.25
"""How often it is looked whether charts still have the size that they were drawn for."""


class LiveScreen(MainScreen):
    """Follows the app's session."""

    MODE = "live"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("live")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-high")]
    DEFAULT_CSS = """
    LiveScreen {
        #empty { height: 1fr; align: center middle; display: none; }
        #empty Static { width: auto; color: $foreground-muted; }
        #panels { height: 1fr; overflow-x: auto; }
        #together { height: auto; }
        &.-overlay {
            #panels { height: 6; RunPanel Charts, RunPanel Picture { display: none; } }
            #together { height: 1fr; }
        }
        &.-overlay.-low #panels { height: 3; }
        &.-overlay.-low RunPanel #numbers { display: none; }
        &.-overlay.-low RunPanel TimeBar { display: none; }
        Overlay { display: none; }
        &.-overlay Overlay { display: block; }
        &.-high.-compared GapStrip { display: block; }
        Log { height: 22%; background: $background; overflow-x: hidden; }
        &.-low Log { height: 4; }
        &.-empty { #panels, #together, SystemStrip, Log { display: none; } }
        &.-empty #empty { display: block; }
        FooterKey.-calls {
            background: $error;
            color: $text;
            .footer-key--key, .footer-key--description { background: $error; color: $text; }
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._session: Session | None = None
        self._lines = 0
        # Kept, and not looked for each time: a query costs as much as a chart.
        self._strip, self._log = SystemStrip(), Log(max_lines=2000, classes="pane")
        self._panels: list[RunPanel] = []
        self._overlay: Overlay | None = None
        self._gap: GapStrip | None = None
        self._drawn: tuple[object, ...] = ()
        """Revisions, view, and widths of the gap strip and the panels at the last drawing."""
        self._remembered = home() / "view.json"
        self._view = load_view(self._remembered)

    def body(self) -> ComposeResult:
        """Panels, strip, log; or a word on how to begin."""
        with Center(id="empty"):
            yield Static(EMPTY)
        yield Horizontal(id="panels")
        yield Vertical(id="together")
        yield self._strip
        self._log.border_title = "Log"
        yield self._log

    def on_mount(self) -> None:
        """Follow the runs."""
        super().on_mount()
        self._log.anchor()  # it stays at its end when it gets another height, too
        self.state.recall()
        self.watch(self.app, "pulse", self.sync)
        self.set_interval(FIT_SECONDS, self._fit)

    def on_screen_resume(self) -> None:
        """Show at once what happened while another screen was up."""
        self._drawn = ()
        self.call_after_refresh(self.sync)

    async def sync(self) -> None:
        """Show what the session has read."""
        session = self.state.session
        self.set_class(session is None, "-empty")
        if session is None or not self.is_active:
            return
        if session is not self._session:
            await self._take(session)
        now = self.state.now()
        for panel in self._panels:
            panel.sync(now)
        self._draw(session)
        astray = any(view.history.diverged or view.history.alarm for view in session.views)
        for key in self.query_one(Footer).walk_children():  # it makes new ones now and then
            key.set_class(astray and getattr(key, "action", "") == "investigate", "-calls")
        self._strip.show(session.system, session.views, self.state.governor.share)
        fresh = session.lines_written - self._lines
        if fresh:
            self._lines = session.lines_written
            self._log.write_lines(session.lines[-min(fresh, len(session.lines)) :])

    async def _fit(self) -> None:
        """Draw what is laid out only now, or in another size."""
        if self._session is not None and self.is_active and self._drawn[1:] != self._asked()[1:]:
            await self.sync()

    async def _take(self, session: Session) -> None:
        self._session, self._lines, self._drawn = session, 0, ()
        self._log.clear()
        holder = self.query_one("#panels", Horizontal)
        await holder.remove_children()
        self._panels = [RunPanel(view, series) for series, view in enumerate(session.views, 1)]
        await holder.mount_all(self._panels)
        together = self.query_one("#together", Vertical)
        await together.remove_children()
        self._overlay, self._gap = Overlay(session), GapStrip(session.views[0].config.device)
        await together.mount_all([self._overlay, self._gap])
        self.call_after_refresh(self.sync)  # laid out by then
        self.set_class(len(session.views) > 1, "-compared")
        self.set_class(self._view.overlay, "-overlay")

    @property
    def _columns(self) -> list[Charts]:
        if self._view.overlay and self._overlay is not None:
            return [self._overlay.charts]
        return [panel.charts for panel in self._panels]

    def _asked(self) -> tuple[object, ...]:
        taken = self._session.taken if self._session else 0
        gap = self._gap.size.width if self._gap else 0
        return (taken, self._view, gap, *(charts.size.width for charts in self._columns))

    def _draw(self, session: Session) -> None:
        drawing, columns, gap = self._asked(), self._columns, self._gap
        # What is not laid out yet has no columns to fill.
        if drawing == self._drawn or gap is None or not all(each.size.width for each in columns):
            return
        self._drawn = drawing
        subjects = [panel.subject for panel in self._panels]
        whole = whole_x(subjects, self._view)
        ys = {name: y_limits(subjects, name, self._view) for name in self._view.charts}
        if self._view.overlay:
            columns[0].draw(subjects, self._view, whole, ys)
        else:
            for charts, subject in zip(columns, subjects, strict=True):
                charts.draw([subject], self._view, whole, ys)
        if session.gaps:
            gap.draw_gaps(session, subjects, self._view, whole)

    def _look(self, view: ViewState) -> None:
        """Look at the charts in another way, at once, and remember it."""
        self._view = view
        self.set_class(view.overlay, "-overlay")
        save_view(self._remembered, view)
        self.call_after_refresh(self.sync)

    @property
    def _whole(self) -> Limits:
        return whole_x([panel.subject for panel in self._panels], self._view)

    def action_overlay(self) -> None:
        """All runs in one chart, or a panel each."""
        self._look(replace(self._view, overlay=not self._view.overlay))

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

    @work
    async def action_choose_charts(self) -> None:
        """Choose which charts are shown."""
        from .charts_dialog import ChartsDialog

        chosen = await self.app.push_screen_wait(ChartsDialog(self._view.charts))
        if chosen is not None:
            self._look(replace(self._view, charts=chosen))

    @on(Chart.Pointed)
    def _pointed(self, event: Chart.Pointed) -> None:
        low, high = self._view.shown(self._whole)
        self._look(replace(self._view, cursor=low + event.share * (high - low)))

    @on(Chart.Zoomed)
    def _zoomed(self, event: Chart.Zoomed) -> None:
        low, high = self._view.shown(self._whole)
        around = low + event.share * (high - low)
        self._look(self._view.zoomed(self._whole, event.inwards, around))

    def action_investigate(self) -> None:
        """Look into the run that has the focus, or else that went wrong."""
        from mpstui.ui.inquiry import choose

        around = self.focused.ancestors_with_self if self.focused else []
        focused = next((each for each in around if isinstance(each, RunPanel)), None)
        views = self.state.session.views if self.state.session else []
        view = focused.view if focused else choose(views)
        if view is None:
            self.notify("There is no run to look into yet.", severity="warning")
        else:
            self.state.investigate(view.run)

    def action_pictures(self) -> None:
        """Look at the newest samples."""
        from .pictures import PicturesScreen

        views = self.state.session.views if self.state.session else []
        if not any(view.history.pictures for view in views):
            why = (
                "no epoch is done yet"
                if any(view.config.info.makes_pictures for view in views)
                else "the workload makes none; the VAE does"
            )
            self.notify(f"No pictures: {why}.", severity="warning")
            return
        self.app.push_screen(PicturesScreen(views))
