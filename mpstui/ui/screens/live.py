"""Live: the runs side by side, the machine under them, the log at the bottom."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

from textual._styles_cache import StylesCache  # its cache holds removed widgets
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Center, Horizontal, Vertical
from textual.content import Content
from textual.widgets import Log

from mpstui.domain.diagnosis import diagnose
from mpstui.domain.error_text import REPORTED
from mpstui.ui.charts.overlay import GapStrip, Overlay
from mpstui.ui.keymap import bindings
from mpstui.ui.model.session import RunSession
from mpstui.ui.outcome import outcome
from mpstui.ui.plain import Static
from mpstui.ui.widgets.footer import KeyFooter
from mpstui.ui.widgets.rank_strip import RankStrip
from mpstui.ui.widgets.run_panel import RunPanel
from mpstui.ui.widgets.system_strip import SystemStrip

from .live_charts import LiveCharts

EMPTY = "No run yet.  Press  d  for the demo,  n  to set a run up, or start one with  mpstui train."

OFFER = " · enter: results"

FIT_SECONDS = 0.25
"""Seconds between checks that charts still have the size that they were drawn for."""


class LiveScreen(LiveCharts):
    """The screen that follows the app's session."""

    MODE = "live"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("live")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-high")]
    DEFAULT_CSS = """
    LiveScreen {
        #empty { height: 1fr; align: center middle; display: none; }
        #empty Static { width: auto; color: $foreground-muted; }
        #panels { height: 1fr; overflow-x: auto; }
        #together { height: auto; }
        #unfinished {
            height: 1; padding: 0 2; display: none;
            text-wrap: nowrap; text-overflow: ellipsis;
        }
        #outcome { height: auto; padding: 0 2; display: none; text-style: bold; }
        &.-over #outcome { display: block; }
        &.-overlay {
            #panels { height: 6; RunPanel ChartColumn, RunPanel Picture { display: none; } }
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
        &.-no-log Log { display: none; }
        &.-no-system SystemStrip { display: none; }
        &.-no-gap.-high.-compared GapStrip { display: none; }
        &.-no-pictures #panels Picture { display: none; }
        &.-enlarged {
            #panels, SystemStrip, RankStrip, Log, #unfinished { display: none; }
            &.-high.-compared GapStrip { display: none; }
            #together { height: 1fr; }
            Overlay { display: block; }
        }
        &.-empty { #panels, #together, #outcome, SystemStrip, Log { display: none; } }
        &.-empty #empty { display: block; }
        FooterKey.-calls {
            background: $error-darken-1;
            color: $text;
            .footer-key--key, .footer-key--description {
                background: $error-darken-1; color: $text;
            }
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines = 0
        # Stored as attributes, since a query costs as much as a chart.
        self._ranks = RankStrip()
        self._strip, self._log = SystemStrip(), Log(max_lines=2000, classes="pane")
        self._outcome = Static(id="outcome")
        self._unfinished = Static(id="unfinished")
        self._offered = (False, False)
        """Whether the last drawing offered alarms, and a comparison's results."""
        self._is_replacing = False
        """Whether the panels of another session are being replaced, which takes several rounds."""

    def body(self) -> ComposeResult:
        """Yield panels, strip and log, and a hint on how to start."""
        with Center(id="empty"):
            yield Static(EMPTY)
        yield Horizontal(id="panels")
        yield Vertical(id="together")
        yield self._outcome
        yield self._ranks
        yield self._strip
        self._log.border_title = "Log"
        yield self._log
        yield self._unfinished

    def on_mount(self) -> None:
        """Follow the runs."""
        super().on_mount()
        self._log.anchor()  # stay at the end when the height changes
        self._arrange()
        self.state.recall()
        self.watch(self.app, "runs_revision", self.sync)
        self.set_interval(FIT_SECONDS, self._fit)

    def on_screen_resume(self) -> None:
        """Show what happened while another screen was active."""
        self._drawing_key = ()
        self.call_after_refresh(self.sync)

    async def sync(self) -> None:
        """Show what the session has read."""
        session = self.state.session
        self.set_class(session is None, "-empty")
        if session is None or not self.is_active:
            return
        if self._is_replacing:
            return  # another call awaits the new panels, and draws them
        if session is not self._session:
            self._is_replacing = True
            try:
                await self._take(session)
            finally:
                self._is_replacing = False
        unix_seconds = self.state.wall_clock()
        for panel in self._panels:
            panel.sync(unix_seconds, session.start_gap(panel.view))
        self._draw(session)
        self._offer(session)
        if session.is_ranks:
            self._ranks.show(session.views)
        self._ranks.display = session.is_ranks
        self._strip.show(session.system, session.views, self.state.governor.share)
        new_lines = session.lines_written - self._lines
        if new_lines:
            self._lines = session.lines_written
            self._log.write_lines(session.lines[-min(new_lines, len(session.lines)) :])
        line = session.unfinished_line
        if line != str(self._unfinished.content):
            self._unfinished.update(line, layout=False)
            self._unfinished.display = bool(line)

    async def _fit(self) -> None:
        """Draw charts that were laid out late, or have another size."""
        if (
            self._session is not None
            and self.is_active
            and self._drawing_key[1:] != self._drawing_inputs()[1:]
        ):
            await self.sync()

    async def _take(self, session: RunSession) -> None:
        self._session, self._lines, self._drawing_key = session, 0, ()
        self._offered = (False, False)
        self._outcome.update(OFFER.strip(" ·"))
        self._log.clear()
        holder = self.query_one("#panels", Horizontal)
        await holder.remove_children()
        self._panels = [
            RunPanel(view, series) for series, view in enumerate(session.shown_views, 1)
        ]
        await holder.mount_all(self._panels)
        together = self.query_one("#together", Vertical)
        await together.remove_children()
        self._overlay, self._gap = Overlay(session), GapStrip(_reference_name(session))
        await together.mount_all([self._overlay, self._gap])
        # Textual keeps the drawn lines of 1,024 removed widgets alive in this method's lru_cache.
        StylesCache.get_inner_outer.cache_clear()
        self.call_after_refresh(self.sync)  # after the layout
        self.set_class(bool(session.gaps), "-compared")

    def _offer(self, session: RunSession) -> None:
        """Enable the keys for the alarm and its investigation, and at the end for the results."""
        has_alarm = any(view.history.alarms for view in session.views)
        is_recorded = session.views[0].config.info.is_recorded
        over = (len(session.shown_views) > 1 or is_recorded) and not session.live
        if (has_alarm, over) != self._offered:
            self._offered = (has_alarm, over)
            if over:
                with suppress(*REPORTED):  # Results reports a damaged summary
                    self._outcome.update(Content(_result(session) + OFFER))
            self.set_class(over, "-over")
            self.refresh_bindings()
        self.query_one(KeyFooter).call("investigate" if has_alarm else "")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable keys that have nothing to act on."""
        has_alarm, over = self._offered
        empty = self.state.session is None
        return {"alarm": has_alarm, "results": over, "demo": empty}.get(action, True)

    def action_results(self) -> None:
        """Show the results."""
        self.state_app.show("results")

    def action_demo(self) -> None:
        """Play the demo."""
        self.state_app.action_demo()

    def action_investigate(self) -> None:
        """Investigate the focused run, or else the one that went wrong."""
        from mpstui.ui.model.inquiry import choose

        ancestors = self.focused.ancestors_with_self if self.focused else []
        focused = next((widget for widget in ancestors if isinstance(widget, RunPanel)), None)
        views = self.state.session.views if self.state.session else []
        view = focused.view if focused else choose(views)
        if view is None:
            self.notify("There is no run to investigate yet.", severity="warning")
        else:
            self.state_app.investigate(view.run)

    def action_pictures(self) -> None:
        """Show the runs' pictures, epoch by epoch."""
        from .pictures import PicturesScreen

        views = self.state.session.views if self.state.session else []
        if any(view.config.info.makes_pictures for view in views):
            self.app.push_screen(PicturesScreen(views))
        else:
            why = "the workload makes none; the VAE does" if views else "there is no run yet"
            self.notify(f"No pictures: {why}.", severity="warning")


def _reference_name(session: RunSession) -> str:
    """Return the label of the run that the others are compared with; in words if it is several."""
    places = {gap.reference for gap in session.gaps} or {0}
    labels = [session.shown_views[place].config.label for place in places]
    return labels[0] if len(labels) == 1 else "the first run with the same settings"


def _result(session: RunSession) -> str:
    """Return a comparison's result in one sentence, or a recorded script's diagnosis."""
    if len(session.shown_views) > 1:
        return outcome(session.summaries())
    return "\n".join(finding.text for finding in diagnose(session.views[0].history))
