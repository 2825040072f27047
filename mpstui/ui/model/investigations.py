"""The app's investigations: one of each run, one under way at a time, each in a thread."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from mpstui.domain.errors import MpstuiError
from mpstui.domain.investigation import Investigation, ProgressMessage, Verdict
from mpstui.investigate.client import InvestigationProcess, new_folder, of_run
from mpstui.investigate.request import InvestigationFolder
from mpstui.runs.rundir import RunDir
from mpstui.runs.view import RunView

from .inquiry import Inquiry

if TYPE_CHECKING:
    from mpstui.ui.app import MpstuiApp


class Investigations:
    """What was asked in this app; others are read again from the runs' folders."""

    def __init__(
        self, app: MpstuiApp, investigate: Callable[[InvestigationFolder], InvestigationProcess]
    ) -> None:
        self._app = app
        self._investigate = investigate
        self._inquiries: dict[str, Inquiry] = {}
        self._investigating: InvestigationProcess | None = None

    @property
    def under_way(self) -> Inquiry | None:
        """The one that is under way."""
        return next((one for one in self._inquiries.values() if one.under_way), None)

    def of(self, run: RunDir) -> Inquiry | None:
        """A run's: this app's, else the newest in its folder.

        Raises:
            LogError: When what is kept there cannot be read.
        """
        return self._inquiries.get(run.id) or Inquiry.kept(run)

    def training(self, run: RunDir) -> list[RunDir]:
        """Runs that train now: on screen, or of this run's comparison. They share the machine.

        Raises:
            LogError: When one of them cannot be read.
        """
        session = self._app.session
        views = {view.run.id: view for view in session.views} if session else {}
        for other in self._app.store.group(run):
            if other.id not in views and other.keeper_alive():
                views[other.id] = RunView(other)
                views[other.id].catch_up()
        runs = [view.run for view in views.values() if not view.history.state.over]
        return [run for run in runs if run.wish() != "pause"]

    def begin(self, run: RunDir) -> Inquiry:
        """Begin to investigate a run.

        Raises:
            MpstuiError: When the run cannot be read, or its folder not be written.
        """
        try:
            folder = new_folder(of_run(run), datetime.fromtimestamp(self._app.now()))
        except OSError as error:
            raise MpstuiError(f"{run.path}: {error.strerror}") from error
        inquiry = Inquiry(run, folder, self._app.clock())
        self._inquiries[run.id] = inquiry
        self._investigating = self._investigate(folder)
        follow = partial(self._follow, inquiry, self._investigating)
        self._app.run_worker(follow, thread=True, group="investigation")
        return inquiry

    def stop(self) -> None:
        """End the one under way; its thread then brings what there is."""
        inquiry = self.under_way
        if inquiry is not None and self._investigating is not None:
            inquiry.stopping = True
            self._investigating.stop()

    def _follow(self, inquiry: Inquiry, investigating: InvestigationProcess) -> None:
        """Investigate, in a thread of its own. The app may be closing meanwhile."""
        app = self._app

        def tell(told: ProgressMessage) -> None:
            if app.is_running:
                app.call_from_thread(self._take, inquiry, told)

        try:
            finding = investigating.run(tell)
        except (MpstuiError, OSError) as error:
            finding = _failed(inquiry, str(error))
        if app.is_running:
            app.call_from_thread(self._end, inquiry, finding)

    def _take(self, inquiry: Inquiry, told: ProgressMessage) -> None:
        inquiry.take(told, self._app.clock())
        self._app.told += 1

    def _end(self, inquiry: Inquiry, finding: Investigation) -> None:
        inquiry.end(finding, self._app.clock())
        self._app.told += 1
        if getattr(self._app.screen, "inquiry", None) is not inquiry:
            said = f"{finding.summary}\nPress i on the run, in Live or Results, to see it."
            title = f"Investigated: {inquiry.name}"
            self._app.notify(said, title=title, markup=False, timeout=20)


def _failed(inquiry: Inquiry, error: str) -> Investigation:
    return Investigation(
        workload=inquiry.config.workload,
        device=inquiry.config.device,
        run=inquiry.run.id,
        verdict=Verdict.INCOMPLETE,
        summary=f"the investigation ended early: {error}",
        error=error,
    )
