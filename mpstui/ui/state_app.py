"""The app as the screens know it: its state, the changes that they watch, and where it can go.

:class:`~mpstui.ui.app.MpstuiApp` knows the screens; so that they need not know it too, they are
written against this base.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from textual.reactive import reactive

from mpstui.domain.config import RunConfig
from mpstui.domain.devices import DeviceSpec
from mpstui.runs.rundir import RunDir

from .guard import GuardedApp
from .model.host import Change, StartCoverage
from .model.probing import Probing
from .model.state import AppState

if TYPE_CHECKING:  # imports numpy, which the first frame does not need
    from .model.investigations import Investigations


class StateApp(GuardedApp):
    """An app with an :class:`AppState`, and the host of the models."""

    # Screens watch these; repainting the whole screen for each costs more than all charts.
    facts_revision: reactive[int] = reactive(0, repaint=False)
    probe_revision: reactive[int] = reactive(0, repaint=False)
    runs_revision: reactive[int] = reactive(0, repaint=False)
    investigation_revision: reactive[int] = reactive(0, repaint=False)

    state: AppState
    probing: Probing
    start_coverage: StartCoverage

    _investigations: Investigations | None = None

    @property
    def is_investigating(self) -> bool:
        """True while an investigation is under way."""
        return self._investigations is not None and self._investigations.under_way is not None

    @property
    def investigations(self) -> Investigations:
        """The app's investigations."""
        raise NotImplementedError

    def publish(self, change: Change) -> None:
        """Tell the screens that a part of the state has changed."""
        setattr(self, change.value, getattr(self, change.value) + 1)

    def run_in_thread(self, function: Callable[[], None]) -> None:
        """Run a function in a thread."""
        self.run_worker(function, thread=True, group="model")

    def call_in_app(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function in the app's thread, from another; does nothing once the app closes."""
        if self.is_running:
            self.call_from_thread(function, *arguments)

    def shows_inquiry(self, inquiry: object) -> bool:
        """True if the top screen shows this inquiry."""
        return getattr(self.screen, "inquiry", None) is inquiry

    def show(self, mode: str) -> None:
        """Show a mode's screen."""
        raise NotImplementedError

    def start_runs(self, config: RunConfig, specs: Sequence[DeviceSpec]) -> None:
        """Start a run or a comparison, and show it on Live.

        Raises:
            FieldError: The config does not fit a device.
        """
        raise NotImplementedError

    def watch_runs(self, runs: Sequence[RunDir]) -> None:
        """Put runs on screen, and show Live."""
        raise NotImplementedError

    def show_coverage(self, config: RunConfig) -> None:
        """Show whether a workload runs on MPS."""
        raise NotImplementedError

    def investigate(self, run: RunDir, again: bool = False) -> object:
        """Show a run's investigation; start one if there is none, or if ``again`` is True."""
        raise NotImplementedError

    def action_demo(self) -> None:
        """Play the demo."""
        raise NotImplementedError
