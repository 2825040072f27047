"""The demo in the app: two runs on Live, then the investigation of the diverging one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpstui.domain import demo as story
from mpstui.domain.error_text import REPORTED

if TYPE_CHECKING:
    from .model.session import RunSession
    from .state_app import StateApp

CAPTION_SECONDS = 12.0
"""Seconds that a caption is displayed."""


class Demo:
    """The demo, which moves from the runs to the investigation while the user stays on Live."""

    def __init__(self, app: StateApp) -> None:
        self._app = app
        self._session: RunSession | None = None
        self._started = self._investigating = self._over = False

    def begin(self) -> None:
        """Start the runs as soon as the doctor knows the machine."""
        app = self._app
        if app.state.is_live:
            app.notify("A run is under way; the demo would disturb it.", severity="warning")
            return
        app.watch(app, "facts_revision", self._start)
        app.watch(app, "runs_revision", self._follow, init=False)
        app.watch(app, "investigation_revision", self._conclude, init=False)

    def _start(self) -> None:
        if self._started or self._app.state.facts is None:
            return
        self._started = True
        try:
            self._app.start_runs(story.demo_config(), story.demo_specs())
        except REPORTED as error:
            self._over = True
            self._app.report(error)
            return
        self._session = self._app.state.session
        self._caption(story.OPENING)

    def _follow(self) -> None:
        """Start the investigation once both runs are over, unless the user has left Live."""
        session = self._session
        if self._over or self._investigating or session is None or session.live:
            return
        diverged = next((view for view in session.views if view.history.alarms), None)
        if diverged is None:
            self._over = True
            self._caption("No alarm was raised, so there is nothing to investigate.")
        elif self._app.state.session is session and self._app.current_mode == "live":
            self._investigating = True
            self._caption(story.ALARM_TEXT)
            self._app.investigate(diverged.run)
        else:
            self._over = True

    def _conclude(self) -> None:
        if self._over or not self._investigating or self._app.is_investigating:
            return
        self._over = True
        self._caption(f"{story.ENDING} 1 Doctor, then o checks ops; n sets up a run of your own.")

    def _caption(self, text: str) -> None:
        self._app.notify(text, title="Demo", timeout=CAPTION_SECONDS)
