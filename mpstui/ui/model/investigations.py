"""The app's investigations: one per run, one at a time, each in a thread."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from mpstui.domain.errors import MpstuiError
from mpstui.domain.investigation import Investigation, ProgressMessage, Verdict
from mpstui.investigate.client import InvestigationProcess, create_folder, request_for_run
from mpstui.runs.rundir import RunDir
from mpstui.runs.view import RunView

from .host import Change, Host, StartInvestigation
from .inquiry import Inquiry
from .state import AppState


class Investigations:
    """The investigations started in this app; others are loaded from the runs' folders."""

    def __init__(
        self,
        state: AppState,
        host: Host,
        investigate: StartInvestigation,
    ) -> None:
        """Start with no investigation under way.

        Args:
            state: The runs, the clocks and the store.
            host: The app.
            investigate: Creates an investigation from the folder of its request.
        """
        self._state = state
        self._host = host
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
        session = self._state.session
        views = {view.run.id: view for view in session.views} if session else {}
        for member in self._state.store.group(run):
            if member.id not in views and member.is_under_way():
                views[member.id] = RunView(member)
                views[member.id].catch_up()
        runs = [view.run for view in views.values() if not view.history.state.over]
        return [run for run in runs if run.request() != "pause"]

    def begin(self, run: RunDir) -> Inquiry:
        """Start the investigation of a run.

        Raises:
            MpstuiError: The run cannot be read, or its folder cannot be written.
            OSError: The system refuses.
        """
        now = datetime.fromtimestamp(self._state.wall_clock())
        folder = create_folder(request_for_run(run), now)
        inquiry = Inquiry(run, folder, self._state.clock())
        self._inquiries[run.id] = inquiry
        self._investigating = self._investigate(folder)
        follow = partial(self._follow, inquiry, self._investigating)
        self._host.run_in_thread(follow)
        return inquiry

    def stop(self) -> None:
        """Stop the investigation under way; its thread then delivers a partial finding."""
        inquiry = self.under_way
        if inquiry is not None and self._investigating is not None:
            inquiry.stopping = True
            self._investigating.stop()

    def _follow(self, inquiry: Inquiry, investigating: InvestigationProcess) -> None:
        """Investigate, in a separate thread. The app may close in the meantime."""

        def report_progress(update: ProgressMessage) -> None:
            self._host.call_in_app(self._take, inquiry, update)

        try:
            finding = investigating.run(report_progress)
        except (MpstuiError, OSError) as error:
            finding = _failed(inquiry, str(error))
        self._host.call_in_app(self._end, inquiry, finding)

    def _take(self, inquiry: Inquiry, update: ProgressMessage) -> None:
        inquiry.take(update, self._state.clock())
        self._host.publish(Change.INVESTIGATIONS)

    def _end(self, inquiry: Inquiry, finding: Investigation) -> None:
        inquiry.end(finding, self._state.clock())
        self._host.publish(Change.INVESTIGATIONS)
        if not self._host.shows_inquiry(inquiry):
            message = f"{finding.summary}\nPress i on the run, in Live or Results, to see it."
            title = f"Investigated: {inquiry.name}"
            self._host.notify(message, title=title, timeout=20)


def _failed(inquiry: Inquiry, error: str) -> Investigation:
    return Investigation(
        workload=inquiry.config.workload,
        device=inquiry.config.device,
        run=inquiry.run.id,
        verdict=Verdict.INCOMPLETE,
        summary=f"the investigation ended early: {error}",
        error=error,
    )
