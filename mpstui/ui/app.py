"""The app: its modes, and one timer that follows the runs' logs; no training happens here.

It never imports torch: facts come from probe processes, runs from their logs. What the screens
show is in :class:`~mpstui.ui.model.state.AppState`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import SystemCommand
from textual.await_complete import AwaitComplete
from textual.binding import BindingType
from textual.errors import NoWidget
from textual.events import Event, InputEvent, MouseDown, MouseMove, Resize
from textual.screen import Screen
from typing_extensions import override

from mpstui.doctor.probes import Probes
from mpstui.doctor.system import SystemProbes
from mpstui.runs.launch import PrewarmedSupervisor, launch
from mpstui.runs.paths import runs_dir as default_runs_dir
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore

from .bell import Bell
from .contrast import with_contrast
from .doctor_controls import DoctorControls
from .keymap import ACTIONS, bindings
from .lazy import MODE_SCREENS, coverage_client, investigation_client
from .model.host import StartCoverage, StartInvestigation
from .model.prewarming import Prewarming
from .model.probing import Probing
from .model.state import AppState
from .model.under_way import runs_under_way
from .run_controls import RunControls
from .saved_theme import remember_theme
from .terminal import check_terminal, end_on_signals, restored_terminal

if TYPE_CHECKING:  # imports numpy, which the first frame does not need
    from mpstui.runs.view import RunView

    from .model.investigations import Investigations

FOLLOW_SECONDS = 0.25
MOST_NAMED = 4
"""Runs under way that the start names; the others are counted."""

ANNOUNCEMENT_SECONDS = 10.0

PREWARM_SECONDS = 1.0
"""Seconds between checks whether workers for the next runs may be started."""


class MpstuiApp(RunControls, DoctorControls):
    """The terminal app."""

    TITLE = "mpstui"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("app")]
    MODES: ClassVar[dict[str, str | Callable[[], Screen[None]]]] = MODE_SCREENS
    DEFAULT_MODE = "doctor"

    def __init__(
        self,
        probes: Probes | None = None,
        runs_dir: Path | None = None,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
        start: Callable[[Sequence[RunDir]], object] = launch,
        start_investigation: StartInvestigation = investigation_client,
        start_coverage: StartCoverage = coverage_client,
        supervisor: PrewarmedSupervisor | None = None,
    ) -> None:
        """Create the app.

        Args:
            probes: The source of facts: this machine, or recorded facts in tests.
            runs_dir: The folder of runs.
            wall_clock: Unix seconds.
            clock: Monotonic clock, seconds, for the refresh budget.
            cpu_clock: This process's CPU time so far, seconds, for the refresh budget.
            start: Starts created runs.
            start_investigation: Creates an investigation from the folder of its request.
            start_coverage: Creates a check whether a workload runs on MPS with a version of torch.
            supervisor: Workers that have imported torch, for ``start``; None for none.
        """
        super().__init__()
        store = RunStore(runs_dir or default_runs_dir())
        self.state = AppState(self, store, wall_clock, clock, cpu_clock)
        self.probing = Probing(self.state, self, probes or SystemProbes())
        self.start_coverage = start_coverage
        self.alarm_bell = Bell(self)
        self._start = start
        self._start_investigation = start_investigation
        self._prewarming = None if supervisor is None else Prewarming(self.state, supervisor)

    @override
    def get_css_variables(self) -> dict[str, str]:
        """Return the theme's variables, with text adjusted to be readable on its backgrounds."""
        self.theme_variables = with_contrast(super().get_css_variables())
        return self.theme_variables

    def on_mount(self) -> None:
        """Start probing the machine and following the runs."""
        if not self.is_headless:
            end_on_signals(lambda code: self.exit(return_code=code))
        remember_theme(self)
        self.action_probe()
        self.set_interval(FOLLOW_SECONDS, self.follow)
        self.call_after_refresh(self._collect)
        if self._prewarming is not None:
            self.set_interval(PREWARM_SECONDS, self.prewarm)
        self.call_after_refresh(self.run_in_thread, self._look_for_runs)

    def _look_for_runs(self) -> None:
        """Look for runs under way, in a thread: a folder may have thousands of runs."""
        runs = runs_under_way(self.state.store)
        if runs:
            self.call_in_app(self._announce, runs)

    def _announce(self, runs: Sequence[RunDir]) -> None:
        """Name the runs under way, and put the newest on screen: then quitting asks about them."""
        is_first = self.state.session is None
        if is_first:
            self.state.put_on_screen(self.state.store.group(runs[0]))
        views = self.state.session.views if self.state.session else []
        shown_ids = {view.run.id for view in views}
        other_ids = [run.id for run in runs if run.id not in shown_ids]
        ids = [run.id for run in runs] if is_first else other_ids
        if not ids:
            return
        more = [f"and {len(ids) - MOST_NAMED} more"] if len(ids) > MOST_NAMED else []
        hint = "Press 3 to watch." if is_first else ""
        hint += " For the older: 4, then l." if other_ids and is_first else ""
        message = "\n".join([*ids[:MOST_NAMED], *more, hint or "4, then l, shows one on Live."])
        self.notify(message, title="Under way", timeout=ANNOUNCEMENT_SECONDS)

    def on_unmount(self) -> None:
        """Stop everything that would keep the process from exiting."""
        if self._investigations is not None:
            self._investigations.stop()
        self.alarm_bell.clear()
        self.probing.stop()
        if self._prewarming is not None:
            self._prewarming.close()

    def _collect(self) -> None:
        """Enable garbage collection after the first frame, without the objects created so far."""
        if not gc.isenabled():
            gc.freeze()
            gc.enable()

    @override
    async def on_event(self, event: Event) -> None:
        """Note user input, so that the response is not delayed."""
        if isinstance(event, (InputEvent, Resize)) and not isinstance(event, MouseMove):
            self.state.governor.note_input(self.state.clock())
            if self.current_mode == "live" and isinstance(event, InputEvent):
                self.alarm_bell.clear()
        if isinstance(event, MouseDown) and not self._is_on_attached_widget(event):
            return
        await super().on_event(event)

    def _is_on_attached_widget(self, event: MouseDown) -> bool:
        """Return False for a widget that was just removed; Textual would look for its parent."""
        if event.is_forwarded:  # it comes back from the widget
            return True
        try:
            return self.screen.get_widget_at(*event.screen_offset)[0].is_attached
        except NoWidget:
            return True

    def follow(self) -> None:
        """Read new events from the logs, and ring for runs with a first alarm."""
        for view in self.state.follow_runs():
            self._ring(view)

    def _ring(self, view: RunView) -> None:
        from .model.session import describe_alarm

        message = describe_alarm(view)
        self.alarm_bell.ring(message)
        hint = "a shows the step" if self.current_mode == "live" else "3, then a, shows the step"
        self.notify(f"{message}. {hint}.", title="Alarm", severity="error")

    def prewarm(self) -> None:
        """Start workers for the next runs, while nothing is probed, investigated or timed."""
        if self._prewarming and not self.probing.under_way and not self.is_investigating:
            self._prewarming.prewarm_if_idle()

    # Investigations

    @property
    @override
    def investigations(self) -> Investigations:
        """The app's investigations."""
        if self._investigations is None:
            from .model.investigations import Investigations

            self._investigations = Investigations(self.state, self, self._start_investigation)
        return self._investigations

    @work
    async def investigate(self, run: RunDir, again: bool = False) -> None:
        """Show a run's investigation; start one if there is none, or if ``again`` is True.

        While runs train it asks first: both would share the machine and disturb the timing.
        """
        from .screens.investigate import show_investigation

        await show_investigation(self, run, again)

    # Navigation

    @override
    def show(self, mode: str) -> None:
        """Show a mode's screen."""
        while self.screen_stack[1:] and not self.screen.is_modal:  # an investigation
            self.pop_screen()
        if self.current_mode != mode:
            self.switch_mode(mode)

    @override
    def pop_screen(self) -> AwaitComplete:
        """Close the top screen; a mode's own stays, when a dialog is closed twice at once."""
        if len(self.screen_stack) <= 1:
            return AwaitComplete.nothing()  # type: ignore[no-any-return, no-untyped-call]
        return super().pop_screen()

    def action_show_mode(self, mode: str) -> None:
        """Show a mode's screen, from a key or a click."""
        self.show(mode)

    @override
    def action_demo(self) -> None:
        """Play the article's story: a run that diverges, and the op that causes it."""
        from .demo import Demo

        Demo(self).begin()

    @override
    def action_command_palette(self) -> None:
        """Show the command palette."""
        from .palette import Palette  # imports Textual's, which the first frame does not need

        # A closed palette keeps its id until Textual has removed it.
        if not any(isinstance(node, Palette) for node in self._nodes):
            self.push_screen(Palette(id="--command-palette"))

    def action_help(self) -> None:
        """Show every key."""
        from .screens.help import HelpScreen

        self.push_screen(HelpScreen(getattr(self.screen, "MODE", self.current_mode)))

    @override
    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yield the palette's commands: Textual's own, except those that the key table replaces."""
        replaced = {"Quit", "Keys"}
        for command in super().get_system_commands(screen):
            if command.title not in replaced:
                yield command
        mode = getattr(screen, "MODE", self.current_mode)
        for action in ACTIONS:
            if action.where in ("app", mode):
                run = partial(self.call_later, self.run_action, action.action, screen)
                yield SystemCommand(action.help, action.label, run)


def run_app(runs_dir: Path | None, demo: bool = False, watched_runs: Sequence[RunDir] = ()) -> int:
    """Run the app in this terminal and return an exit code.

    Args:
        runs_dir: The folder of runs; None for the default.
        demo: Start with the demo.
        watched_runs: Runs to show on Live from the start.

    Returns:
        0, 1 after a defect, or 128 + n if signal n ended it.

    Raises:
        UsageError: This is no terminal.
    """
    check_terminal()
    supervisor = PrewarmedSupervisor()
    start = partial(launch, warm=supervisor)
    app = MpstuiApp(runs_dir=runs_dir, start=start, supervisor=supervisor)
    if demo:
        app.call_later(app.action_demo)
    if watched_runs:
        app.call_later(app.watch_runs, watched_runs)
    with restored_terminal():
        app.run()
    return app.return_code or 0
