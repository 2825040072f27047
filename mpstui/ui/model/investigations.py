"""The app's investigations: one per run, one at a time, each in a thread."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from mpstui.domain.errors import MpstuiError
from mpstui.domain.investigation import Investigation, ProgressMessage, Verdict
from mpstui.investigate.client import InvestigationProcess, create_folder, request_for_run
from mpstui.investigate.request import InvestigationFolder
from mpstui.runs.rundir import RunDir
from mpstui.runs.view import RunView

from .inquiry import Inquiry

if TYPE_CHECKING:
    from mpstui.ui.app import MpstuiApp


class Investigations:
    """The investigations started in this app; others are loaded from the runs' folders."""

    def __init__(
        self, app: MpstuiApp, investigate: Callable[[InvestigationFolder], InvestigationProcess]
    ) -> None:
        self._app = app
        self._investigate = investigate
        self._inquiries: dict[str, Inquiry] = {}
        self._investigating: InvestigationProcess | None = None

    @property
    def under_way(self) -> Inquiry | None:
        """The investigation under way, if any."""
        return next((inquiry for inquiry in self._inquiries.values() if inquiry.under_way), None)

    def of(self, run: RunDir) -> Inquiry | None:
        """Return a run's investigation: this app's, else the newest in its folder.

        Raises:
            LogError: The files in its folder cannot be read.
        """
        return self._inquiries.get(run.id) or Inquiry.load_newest(run)

    def runs_in_training(self, run: RunDir) -> list[RunDir]:
        """Return the runs that are training, on screen or in this run's comparison.

        Raises:
            LogError: A run cannot be read.
        """
        session = self._app.session
        views = {view.run.id: view for view in session.views} if session else {}
        for member in self._app.store.group(run):
            if member.id not in views and member.supervisor_alive():
                views[member.id] = RunView(member)
                views[member.id].catch_up()
        runs = [view.run for view in views.values() if not view.history.state.over]
        return [run for run in runs if run.request() != "pause"]

    def begin(self, run: RunDir) -> Inquiry:
        """Start the investigation of a run.

        Raises:
            MpstuiError: The run cannot be read, or its folder cannot be written.
        """
        try:
            folder = create_folder(
                request_for_run(run), datetime.fromtimestamp(self._app.wall_clock())
            )
        except OSError as error:
            raise MpstuiError(f"{run.path}: {error.strerror}") from error
        inquiry = Inquiry(run, folder, self._app.clock())
        self._inquiries[run.id] = inquiry
        self._investigating = self._investigate(folder)
        follow = partial(self._follow, inquiry, self._investigating)
        self._app.run_worker(follow, thread=True, group="investigation")
        return inquiry

    def stop(self) -> None:
        """Stop the investigation under way; its thread then delivers a partial finding."""
        inquiry = self.under_way
        if inquiry is not None and self._investigating is not None:
            inquiry.stopping = True
            self._investigating.stop()

    def _follow(self, inquiry: Inquiry, investigating: InvestigationProcess) -> None:
        """Investigate, in a separate thread. The app may close in the meantime."""
        app = self._app

        def report_progress(update: ProgressMessage) -> None:
            if app.is_running:
                app.call_from_thread(self._take, inquiry, update)

        try:
            finding = investigating.run(report_progress)
        except (MpstuiError, OSError) as error:
            finding = _failed(inquiry, str(error))
        if app.is_running:
            app.call_from_thread(self._end, inquiry, finding)

    def _take(self, inquiry: Inquiry, update: ProgressMessage) -> None:
        inquiry.take(update, self._app.clock())
        self._app.investigation_updates += 1

    def _end(self, inquiry: Inquiry, finding: Investigation) -> None:
        inquiry.end(finding, self._app.clock())
        self._app.investigation_updates += 1
        if getattr(self._app.screen, "inquiry", None) is not inquiry:
            message = f"{finding.summary}\nPress i on the run, in Live or Results, to see it."
            title = f"Investigated: {inquiry.name}"
            self._app.notify(message, title=title, markup=False, timeout=20)


def _failed(inquiry: Inquiry, error: str) -> Investigation:
    return Investigation(
        workload=inquiry.config.workload,
        device=inquiry.config.device,
        run=inquiry.run.id,
        verdict=Verdict.INCOMPLETE,
        summary=f"the investigation ended early: {error}",
        error=error,
    )
