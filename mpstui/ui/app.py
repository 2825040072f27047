"""The app: four modes and one timer that follows the runs' logs; no training happens here.

The app owns the state (facts, runs), and the screens show it. It never imports torch: facts come
from probe processes, runs from their logs.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace
from textual import work
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.events import Event, InputEvent, MouseMove, Resize
from textual.reactive import reactive
from textual.screen import Screen
from textual.theme import Theme

from mpstui.doctor.checks import findings
from mpstui.doctor.probes import Probes
from mpstui.doctor.system import SystemProbes
from mpstui.domain.config import RunConfig
from mpstui.domain.devices import DeviceSpec
from mpstui.domain.errors import MpstuiError
from mpstui.domain.facts import DoctorFacts
from mpstui.domain.findings import Finding
from mpstui.runs.files import replace as write
from mpstui.runs.last_settings import load_last
from mpstui.runs.launch import PrewarmedSupervisor, launch
from mpstui.runs.paths import home
from mpstui.runs.paths import runs_dir as default_runs_dir
from mpstui.runs.rundir import RunDir
from mpstui.runs.store import RunStore

from .bell import Bell
from .contrast import with_contrast
from .keymap import ACTIONS, bindings
from .model.governor import Governor
from .probing import Probing

if TYPE_CHECKING:
    from mpstui.coverage.client import CoverageProcess
    from mpstui.investigate.client import InvestigationProcess
    from mpstui.investigate.request import InvestigationFolder
    from mpstui.runs.view import RunView

    from .model.investigations import Investigations
    from .model.session import RunSession

FOLLOW_SECONDS = 0.25
CATCH_UP_EVENTS = 1000
"""A refresh with more events than this reads a run's past, so the next one is not delayed."""

HEAT_SECONDS = 1.0
"""Seconds between checks whether workers for the next runs may be warmed."""

MOST_WARM = 2
"""Workers kept warm at a time. A comparison of two starts when both are ready, so one would save
nothing; more would hold memory that few comparisons use."""


def _doctor() -> Screen[None]:
    from .screens.doctor import DoctorScreen

    return DoctorScreen()


def _configure() -> Screen[None]:
    from .screens.configure import ConfigureScreen

    return ConfigureScreen()


def _live() -> Screen[None]:
    from .screens.live import LiveScreen

    return LiveScreen()


def _results() -> Screen[None]:
    from .screens.results import ResultsScreen

    return ResultsScreen()


def _investigator(folder: InvestigationFolder) -> InvestigationProcess:
    from mpstui.investigate.client import InvestigationClient

    return InvestigationClient(folder)


def _coverer(workload: str, torch: str) -> CoverageProcess:
    from mpstui.coverage.client import CoverageClient

    return CoverageClient(workload, torch)


class MpstuiApp(App[None]):
    """The terminal app."""

    TITLE = "mpstui"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("app")]
    # Created when first shown: the first frame does not import numpy, plotext and the charts.
    MODES: ClassVar[dict[str, str | Callable[[], Screen[None]]]] = {
        "doctor": _doctor,
        "configure": _configure,
        "live": _live,
        "results": _results,
    }
    DEFAULT_MODE = "doctor"

    # Screens watch these; repainting the whole screen for each costs more than all charts.
    facts: reactive[DoctorFacts | None] = reactive(None, repaint=False)
    """The doctor's facts so far; None until the first probe has returned."""
    pending: reactive[frozenset[str]] = reactive(frozenset(), repaint=False)
    """Ids of findings whose facts are being probed."""
    answers: reactive[int] = reactive(0, repaint=False)
    """Increases when facts have arrived."""
    pulse: reactive[int] = reactive(0, repaint=False)
    """Increases when a run has something new to show, or the runs change."""
    investigation_updates: reactive[int] = reactive(0, repaint=False)
    """Increases when an investigation has something new to show."""

    def __init__(
        self,
        probes: Probes | None = None,
        runs_dir: Path | None = None,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
        start: Callable[[Sequence[RunDir]], object] = launch,
        investigate: Callable[[InvestigationFolder], InvestigationProcess] = _investigator,
        cover: Callable[[str, str], CoverageProcess] = _coverer,
        warm: PrewarmedSupervisor | None = None,
    ) -> None:
        """Create the app.

        Args:
            probes: The source of facts: this machine, or recorded facts in tests.
            runs_dir: The folder of runs.
            wall_clock: Unix seconds.
            clock: Monotonic clock, seconds, for the refresh budget.
            cpu_clock: This process's CPU time so far, seconds, for the refresh budget.
            start: Starts created runs.
            investigate: Creates an investigation from the folder of its request.
            cover: Creates a check whether a workload runs on MPS with a version of torch.
            warm: Workers that have imported torch, for ``start``; None for none.
        """
        super().__init__()
        self.probing = Probing(self, probes or SystemProbes())
        self._start = start
        self._investigate = investigate
        self.cover = cover
        self._warm = warm
        self._investigations: Investigations | None = None
        self.wall_clock = wall_clock
        self.clock = clock
        self._cpu_clock = cpu_clock
        self.governor = Governor()
        self.alarm_bell = Bell(self)
        self.store = RunStore(runs_dir or default_runs_dir())
        self.session: RunSession | None = None
        """The runs on screen; None until one is started or recalled."""

    def get_css_variables(self) -> dict[str, str]:
        """Return the theme's variables, with text adjusted to be readable on its backgrounds."""
        self.theme_variables = with_contrast(super().get_css_variables())
        return self.theme_variables

    def on_mount(self) -> None:
        """Start probing the machine and following the runs."""
        self._remember_theme()
        self.action_probe()
        self.set_interval(FOLLOW_SECONDS, self.follow)
        self.call_after_refresh(self._collect)
        if self._warm is not None:
            self.set_interval(HEAT_SECONDS, self.heat)
        with suppress(MpstuiError):  # a damaged folder is reported when its screen opens
            if any(run.supervisor_alive() for run in self.store.newest_group()):
                self.recall()  # so that quitting asks about them on any screen
                self.notify("A run is under way. Press 3 to watch it.")

    def _collect(self) -> None:
        """Enable garbage collection after the first frame, without the objects created so far."""
        if not gc.isenabled():
            gc.freeze()
            gc.enable()

    def _remember_theme(self) -> None:
        """Restore the last theme, and save the one that the user selects."""
        theme_path = home() / "theme"
        with suppress(OSError, UnicodeDecodeError):
            name = theme_path.read_text(encoding="utf-8").strip()
            if name in self.available_themes:
                self.theme = name

        def save_theme(theme: Theme) -> None:
            with suppress(OSError):  # a full disk loses the selection only
                write(theme_path, theme.name.encode())

        self.theme_changed_signal.subscribe(self, save_theme)

    def findings(self) -> list[Finding]:
        """Return the findings on the facts so far; those with facts under way are pending."""
        if self.facts is None:
            return []
        return [
            replace(finding, pending=finding.id in self.pending) for finding in findings(self.facts)
        ]

    def action_probe(self) -> None:
        """Probe the machine; facts fill in as the probes return."""
        self.probing.begin()

    def action_check_ops(self) -> None:
        """Check known faults and everyday ops on every usable device."""
        if self.session is not None and self.session.live:
            self.notify("A run is under way; the check would disturb its clock.", severity="error")
            return
        if self.investigating:
            self.notify("An investigation is under way on the device.", severity="error")
            return
        self.check_again("ops")

    def action_cover(self) -> None:
        """Check whether the workload of the last run would run on MPS."""
        workload = "mnist"
        with suppress(MpstuiError):  # Configure reports a damaged file
            last = load_last()
            workload = last[0].workload if last else workload
        self.show_coverage(workload)

    def show_coverage(self, workload: str) -> None:
        """Show whether a workload runs on MPS. Recording its step would disturb a run's clock."""
        from .screens.coverage import CoverageScreen

        if self.session is not None and self.session.live:
            self.notify("A run is under way; this would disturb its clock.", severity="error")
            return
        self.push_screen(CoverageScreen(workload))

    def check_again(self, id: str) -> None:
        """Probe again the facts that one finding depends on."""
        self.probing.probe_finding(id)

    def action_report(self) -> None:
        """Write the doctor's report as Markdown and copy it."""
        self.probing.report()

    def on_unmount(self) -> None:
        """Stop everything that would keep the process from exiting."""
        if self._investigations is not None:
            self._investigations.stop()
        self.alarm_bell.clear()
        self.probing.stop()
        if self._warm is not None:
            self._warm.close()

    async def on_event(self, event: Event) -> None:
        """Note user input, so that the response is not delayed."""
        if isinstance(event, (InputEvent, Resize)) and not isinstance(event, MouseMove):
            self.governor.note_input(self.clock())
            if self.current_mode == "live" and isinstance(event, InputEvent):
                self.alarm_bell.clear()
        await super().on_event(event)

    def follow(self) -> None:
        """Read new events from the logs, as often as the budget allows."""
        session = self.session
        if session is None:
            return
        clock_seconds = self.clock()
        if not self.governor.due(clock_seconds, self._cpu_clock(), session.timing):
            return
        try:
            before = session.event_count
            if session.refresh():
                self.pulse += 1
            alarmed = session.new_alarms()
            if session.event_count - before > CATCH_UP_EVENTS:
                self.governor.note_input(clock_seconds)
            elif alarmed:
                self._alarm(alarmed)
        except MpstuiError as error:  # reported once: the runs are then no longer followed
            self.session = None
            self.notify(str(error), title=error.title, severity="error", markup=False)

    def _alarm(self, views: Sequence[RunView]) -> None:
        """Ring for runs with a first alarm, and notify on the current screen."""
        from .model.session import describe_alarm

        for view in views:
            message = describe_alarm(view)
            self.alarm_bell.ring(message)
            hint = (
                "a shows the step" if self.current_mode == "live" else "3, then a, shows the step"
            )
            self.notify(f"{message}. {hint}.", title="Alarm", severity="error", markup=False)

    def prewarm(self) -> None:
        """Let workers import torch for the next runs, while the machine is idle.

        That excludes probing, investigations and timed runs, in this process or another.
        """
        if self._warm is None or self._warm.waiting or self.facts is None:
            return
        if self.probing.under_way or self.investigating or self.facts.torch is None:
            return
        if self.session is not None and self.session.live:
            return
        with suppress(MpstuiError, OSError):  # the screens report damage
            if not any(run.supervisor_alive() for run in self.store.newest_group()):
                last = load_last()
                devices = len(last[1] if last else self.facts.default_devices())
                self._warm.prewarm(min(devices, MOST_WARM))

    def start_runs(self, config: RunConfig, specs: Sequence[DeviceSpec]) -> None:
        """Start a run or a comparison, and show it on Live.

        Raises:
            FieldError: The config does not fit a device.
        """
        if self.facts is None:
            raise MpstuiError("the machine is still being probed; try again in a moment")
        if self.investigating:
            raise MpstuiError("an investigation is under way, which would disturb the run's clock")
        created = datetime.fromtimestamp(self.wall_clock())
        runs = self.store.create(config, specs, self.facts.machine, created)
        self._start(runs)
        self.watch_runs(runs)

    def recall(self) -> None:
        """Put the newest runs on screen, if there are none: they may still be under way."""
        if self.session is not None:
            return
        runs = self.store.newest_group()
        if runs:
            from .model.session import (
                RunSession,  # imports numpy, which the first frame does not need
            )

            try:
                session = RunSession(runs)
                session.refresh()
            except MpstuiError as error:
                self.notify(str(error), title=error.title, severity="warning", markup=False)
                return
            self.session = session
            self.pulse += 1

    def watch_runs(self, runs: Sequence[RunDir]) -> None:
        """Put runs on screen."""
        from .model.session import RunSession

        self.session = RunSession(runs)
        self.session.refresh()
        self.pulse += 1
        self.show("live")

    @property
    def investigations(self) -> Investigations:
        """The app's investigations."""
        if self._investigations is None:
            from .model.investigations import Investigations

            self._investigations = Investigations(self, self._investigate)
        return self._investigations

    @property
    def investigating(self) -> bool:
        """True while an investigation is under way."""
        return self._investigations is not None and self._investigations.under_way is not None

    @work
    async def investigate(self, run: RunDir, again: bool = False) -> None:
        """Show a run's investigation; start one if there is none, or if ``again`` is True.

        While runs train it asks first: both would share the machine and disturb the timing.
        """
        from .screens.investigate import InvestigateScreen
        from .screens.questions import pause_first

        try:
            inquiry = self.investigations.under_way
            if inquiry is not None and (again or inquiry.run.id != run.id):
                self.notify(
                    f"{inquiry.name} is under way: one at a time. x stops it.", severity="warning"
                )
            inquiry = inquiry or (None if again else self.investigations.of(run))
            if inquiry is None:
                training = self.investigations.runs_in_training(run)
                if training:
                    if await self.push_screen_wait(pause_first(len(training))) != "pause":
                        return
                    for training_run in training:
                        training_run.write_request("pause")
                inquiry = self.investigations.begin(run)
        except MpstuiError as error:
            self.notify(str(error), title=error.title, severity="error", markup=False)
            return
        if isinstance(self.screen, InvestigateScreen):
            self.screen.take(inquiry)
        else:
            self.push_screen(InvestigateScreen(inquiry))

    def show(self, mode: str) -> None:
        """Show a mode's screen."""
        if self.screen.id == "investigate":  # it is on top of a mode's screen
            self.pop_screen()
        if self.current_mode != mode:
            self.switch_mode(mode)

    def action_show_mode(self, mode: str) -> None:
        """Show a mode's screen, from a key or a click."""
        self.show(mode)

    def action_demo(self) -> None:
        """Play the article's story: a run that diverges, and the op that causes it."""
        from .demo import Demo

        Demo(self).begin()

    def action_pause(self) -> None:
        """Pause all runs, or resume them when all are paused."""
        if self._require_live("nothing to pause"):
            self.session.pause_or_resume()  # type: ignore[union-attr]

    def action_stop(self) -> None:
        """Stop all runs safely."""
        if self._require_live("nothing to stop"):
            self.session.send_request("stop")  # type: ignore[union-attr]
            self.notify("Each run ends after its step, with a summary.", title="Stopping")

    @work
    async def action_kill(self) -> None:
        """End the workers immediately, after a question."""
        from .screens.questions import KILL

        session = self.session
        if self._require_live("nothing to kill") and await self.push_screen_wait(KILL()) == "kill":
            session.send_request("kill")  # type: ignore[union-attr]

    @work
    async def action_leave(self) -> None:
        """Quit, after a question if runs are under way."""
        from .screens.questions import leave

        session = self.session
        if session is None or not session.live:
            self.exit()
            return
        answer = await self.push_screen_wait(leave(session.under_way, session.paused))
        if answer == "stop":
            session.send_request("stop")
        elif answer == "leave" and session.paused:  # nothing else would resume them
            session.send_request("run")
        if answer in ("stop", "leave"):
            paths = "\n".join(str(view.run.path) for view in session.views)
            state = "Stopping" if answer == "stop" else "Still training"
            self.exit(message=f"{state}; `mpstui watch` follows:\n{paths}")

    def action_help(self) -> None:
        """Show every key."""
        from .screens.help import HelpScreen

        self.push_screen(HelpScreen(getattr(self.screen, "MODE", self.current_mode)))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yield the palette's commands: Textual's own, except those that the table replaces."""
        replaced = {"Quit", "Keys"}
        for command in super().get_system_commands(screen):
            if command.title not in replaced:
                yield command
        mode = getattr(screen, "MODE", self.current_mode)
        for action in ACTIONS:
            if action.where in ("app", mode):
                yield SystemCommand(action.help, action.label, self._runner(action.action, screen))

    def _runner(self, action: str, screen: Screen[object]) -> Callable[[], object]:
        return lambda: self.call_later(self.run_action, action, screen)

    def _require_live(self, otherwise: str) -> bool:
        if self.session is not None and self.session.live:
            return True
        self.notify(f"No run is under way: {otherwise}.", severity="warning")
        return False


def run_app(runs_dir: Path | None, demo: bool = False) -> int:
    """Run the app in this terminal and return an exit code.

    Args:
        runs_dir: The folder of runs; None for the default.
        demo: Start with the demo.
    """
    warm = PrewarmedSupervisor()
    app = MpstuiApp(runs_dir=runs_dir, start=partial(launch, warm=warm), warm=warm)
    if demo:
        app.call_later(app.action_demo)
    app.run()
    return app.return_code or 0
