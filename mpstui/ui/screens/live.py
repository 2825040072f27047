"""Live: the runs side by side, the machine under them, the log at the bottom."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Center, Horizontal
from textual.widgets import Log, Static

from mpstui.domain.history import Status
from mpstui.domain.series import Series
from mpstui.ui.actions import bindings
from mpstui.ui.governor import Governor
from mpstui.ui.session import Session
from mpstui.ui.widgets.run_panel import Limits, RunPanel
from mpstui.ui.widgets.system_strip import SystemStrip

from .base import MainScreen

EMPTY = "No run yet.  Press  n  to set one up, or start one with  mpstui train."


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
        Log { height: 22%; background: $background; overflow-x: hidden; }
        &.-low Log { height: 5; }
        &.-empty { #empty { display: block; } #panels, SystemStrip, Log { display: none; } }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._session: Session | None = None
        self._lines = 0
        self._governor = Governor()
        self._drawn: tuple[int, ...] = ()
        """Steps and panel widths of the last drawing."""

    def body(self) -> ComposeResult:
        """Panels, strip, log; or a word on how to begin."""
        with Center(id="empty"):
            yield Static(EMPTY)
        yield Horizontal(id="panels")
        yield SystemStrip()
        log = Log(max_lines=2000, classes="pane")
        log.border_title = "Log"
        yield log

    def on_mount(self) -> None:
        """Follow the runs."""
        super().on_mount()
        self.state.recall()
        self.watch(self.app, "pulse", self.sync)
        self.set_interval(0.25, self.sync)

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
        panels = list(self.query(RunPanel))
        for panel in panels:
            panel.sync(now)
        self._draw(session, panels)
        strip = self.query_one(SystemStrip)
        strip.show(session.system, session.views, self._governor.share)
        fresh = session.lines_written - self._lines
        if fresh:
            self._lines = session.lines_written
            self.query_one(Log).write_lines(session.lines[-min(fresh, len(session.lines)) :])

    async def _take(self, session: Session) -> None:
        self._session, self._lines, self._drawn = session, 0, ()
        self._governor = Governor()
        self.query_one(Log).clear()
        holder = self.query_one("#panels", Horizontal)
        await holder.remove_children()
        await holder.mount_all(
            RunPanel(view, series) for series, view in enumerate(session.views, 1)
        )

    def _draw(self, session: Session, panels: list[RunPanel]) -> None:
        widths = [panel.size.width for panel in panels]
        drawing = (sum(view.history.step for view in session.views), *widths)
        clock = self.state.clock()
        # A panel that is not laid out yet has no columns to fill.
        if 0 in widths or drawing == self._drawn or not self._governor.due(clock):
            return
        self._drawn = drawing
        spent = sum(panel.draw_seconds for panel in panels)
        timing = any(view.history.status is Status.TRAINING for view in session.views)
        self._governor.drew(clock, spent, timing)
        histories = [view.history for view in session.views]
        last = max(history.step for history in histories)
        x = (0.0, float(max(last, 10)))
        losses = _limits([history.losses for history in histories])
        rates = _limits([history.rates for history in histories])
        for panel in panels:
            panel.draw(x, losses, None if rates is None else (0.0, rates[1] * 1.05))

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


def _limits(series: list[Series]) -> Limits | None:
    """Least and greatest of several series: panels share their axes."""
    spans = [one.span() for one in series]
    known = [span for span in spans if span is not None]
    if not known:
        return None
    return min(low for low, _ in known), max(high for _, high in known)
