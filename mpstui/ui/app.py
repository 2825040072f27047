"""The app: four modes, one timer that follows the runs' logs, and nothing that trains.

The app owns the state (facts, runs) and the screens show it. It never imports torch: facts come
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
from .contrast import readable
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
CATCHING_UP = 1000
"""So many events at once are the past of a run that a person asked for: reading goes on at once."""

HEAT_SECONDS = 1.0
"""How often the app looks whether it may warm workers for the next runs."""

MOST_WARM = 2
"""Workers that wait at once. A comparison of two begins when both are ready: one would save it
nothing. More would hold memory that few comparisons ever use."""


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
    # Made when first shown: numpy, plotext and the charts stay out of the first frame.
    MODES: ClassVar[dict[str, str | Callable[[], Screen[None]]]] = {
        "doctor": _doctor,
        "configure": _configure,
        "live": _live,
        "results": _results,
    }
    DEFAULT_MODE = "doctor"

    # Screens show these; to repaint all of the screen for each would cost more than all charts.
    facts: reactive[DoctorFacts | None] = reactive(None, repaint=False)
    """What the doctor knows so far; None until the first probe has returned."""
    pending: reactive[frozenset[str]] = reactive(frozenset(), repaint=False)
    """Ids of findings whose facts are being asked for."""
    answers: reactive[int] = reactive(0, repaint=False)
    """Grows when facts have come in."""
    pulse: reactive[int] = reactive(0, repaint=False)
    """Grows when a run has something new to show, or the runs are others."""
    told: reactive[int] = reactive(0, repaint=False)
    """Grows when an investigation has something new to show."""

    def __init__(
        self,
        probes: Probes | None = None,
        runs_dir: Path | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.process_time,
        start: Callable[[Sequence[RunDir]], object] = launch,
        investigate: Callable[[InvestigationFolder], InvestigationProcess] = _investigator,
        cover: Callable[[str, str], CoverageProcess] = _coverer,
        warm: PrewarmedSupervisor | None = None,
    ) -> None:
        """Make the app.

        Args:
            probes: Where facts come from; the machine itself unless a test has recorded ones.
            runs_dir: Where runs are kept.
            now: Wall clock, Unix seconds.
            clock: Monotonic clock, seconds, for the budget of watching.
            spent: This process's processor time so far, seconds, for the same.
            start: Starts runs that were created.
            investigate: Makes what investigates, from the folder that says what is asked.
            cover: Makes what says whether a workload, with a version of torch, runs on MPS.
            warm: What ``start`` takes workers from that have imported torch; None for nothing.
        """
        super().__init__()
        self.probing = Probing(self, probes or SystemProbes())
        self._start = start
        self._investigate = investigate
        self.cover = cover
        self._warm = warm
        self._investigations: Investigations | None = None
        self.now = now
        self.clock = clock
        self._spent = spent
        self.governor = Governor()
        self.alarm_bell = Bell(self)
        self.store = RunStore(runs_dir or default_runs_dir())
        self.session: RunSession | None = None
        """The runs on screen; None until one was started or looked up."""

    def get_css_variables(self) -> dict[str, str]:
        """The theme's variables, with text that can be read on its grounds."""
        self.theme_variables = readable(super().get_css_variables())
        return self.theme_variables

    def on_mount(self) -> None:
        """Probe, and begin to follow."""
        self._remember_theme()
        self.action_probe()
        self.set_interval(FOLLOW_SECONDS, self.follow)
        self.call_after_refresh(self._collect)
        if self._warm is not None:
            self.set_interval(HEAT_SECONDS, self.heat)
        with suppress(MpstuiError):  # a damaged folder is told of when somebody looks at it
            if any(run.keeper_alive() for run in self.store.newest_group()):
                self.recall()  # so that quitting asks about them, whichever screen is up
                self.notify("A run is under way. Press 3 to watch it.")

    def _collect(self) -> None:
        """Collect garbage again after the first frame, but not in what is there for good."""
        if not gc.isenabled():
            gc.freeze()
            gc.enable()

    def _remember_theme(self) -> None:
        """Take the theme of last time, and keep the one that a person chooses."""
        kept = home() / "theme"
        with suppress(OSError, UnicodeDecodeError):
            name = kept.read_text(encoding="utf-8").strip()
            if name in self.available_themes:
                self.theme = name

        def keep(theme: Theme) -> None:
            with suppress(OSError):  # a disk that is full costs the choice, not the app
                write(kept, theme.name.encode())

        self.theme_changed_signal.subscribe(self, keep)

    def findings(self) -> list[Finding]:
        """What the doctor makes of the facts; those that wait for an answer say so."""
        if self.facts is None:
            return []
        return [
            replace(finding, pending=finding.id in self.pending) for finding in findings(self.facts)
        ]

    def action_probe(self) -> None:
        """Ask the machine; facts fill in as the probes return."""
        self.probing.begin()

    def action_check_ops(self) -> None:
        """Run known faults and everyday ops on every usable device."""
        if self.session is not None and self.session.live:
            self.notify("A run is under way; the check would disturb its clock.", severity="error")
            return
        if self.investigating:
            self.notify("An investigation is under way on the device.", severity="error")
            return
        self.check_again("ops")

    def action_cover(self) -> None:
        """Ask whether the workload of the last run would run on MPS."""
        workload = "mnist"
        with suppress(MpstuiError):  # a damaged file is told of on Configure
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
        """Ask again for one finding: only what it rests on."""
        self.probing.once_more(id)

    def action_report(self) -> None:
        """Write the doctor's report as Markdown, and copy it."""
        self.probing.report()

    def on_unmount(self) -> None:
        """Let what is still under way not keep the program from ending."""
        if self._investigations is not None:
            self._investigations.stop()
        self.alarm_bell.seen()
        self.probing.stop()
        if self._warm is not None:
            self._warm.close()

    async def on_event(self, event: Event) -> None:
        """Note when a person asks for something: the answer is not held back."""
        if isinstance(event, (InputEvent, Resize)) and not isinstance(event, MouseMove):
            self.governor.asked(self.clock())
            if self.current_mode == "live" and isinstance(event, InputEvent):
                self.alarm_bell.seen()
        await super().on_event(event)

    def follow(self) -> None:
        """Read the logs on, as often as the budget allows."""
        session = self.session
        if session is None:
            return
        now = self.clock()
        if not self.governor.due(now, self._spent(), session.timing):
            return
        try:
            before = session.taken
            if session.refresh():
                self.pulse += 1
            alarmed = session.new_alarms()
            if session.taken - before > CATCHING_UP:
                self.governor.asked(now)
            elif alarmed:
                self._alarm(alarmed)
        except MpstuiError as error:  # told once: the runs are then no longer followed
            self.session = None
            self.notify(str(error), title=error.title, severity="error", markup=False)

    def _alarm(self, views: Sequence[RunView]) -> None:
        """Ring for runs that got their first alarm, and say so on whatever screen is up."""
        from .model.session import alarm_words

        for view in views:
            words = alarm_words(view)
            self.alarm_bell.ring(words)
            go = "a shows the step" if self.current_mode == "live" else "3, then a, shows the step"
            self.notify(f"{words}. {go}.", title="Alarm", severity="error", markup=False)

    def heat(self) -> None:
        """Let workers import torch for the next runs, while the machine has nothing better to do.

        Not while the doctor asks, something is investigated, or a run is timed, here or elsewhere.
        """
        if self._warm is None or self._warm.waiting or self.facts is None:
            return
        if self.probing.under_way or self.investigating or self.facts.torch is None:
            return
        if self.session is not None and self.session.live:
            return
        with suppress(MpstuiError, OSError):  # damage is told where somebody looks at it
            if not any(run.keeper_alive() for run in self.store.newest_group()):
                last = load_last()
                devices = len(last[1] if last else self.facts.default_devices())
                self._warm.heat(min(devices, MOST_WARM))

    def start_runs(self, config: RunConfig, specs: Sequence[DeviceSpec]) -> None:
        """Start a run, or a comparison, and watch it.

        Raises:
            FieldError: When the config does not go with a device.
        """
        if self.facts is None:
            raise MpstuiError("the machine is still being looked at; try again in a moment")
        if self.investigating:
            raise MpstuiError("an investigation is under way, which would disturb the run's clock")
        created = datetime.fromtimestamp(self.now())
        runs = self.store.create(config, specs, self.facts.machine, created)
        self._start(runs)
        self.watch_runs(runs)

    def recall(self) -> None:
        """Put the newest runs on the screen, if none are there: they may still be under way."""
        if self.session is not None:
            return
        runs = self.store.newest_group()
        if runs:
            from .model.session import (
                RunSession,  # with numpy, which the first frame does not wait for
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
        """Put runs on the screen."""
        from .model.session import RunSession

        self.session = RunSession(runs)
        self.session.refresh()
        self.pulse += 1
        self.show("live")

    @property
    def investigations(self) -> Investigations:
        """What was and is being investigated."""
        if self._investigations is None:
            from .model.investigations import Investigations

            self._investigations = Investigations(self, self._investigate)
        return self._investigations

    @property
    def investigating(self) -> bool:
        """Whether an investigation is under way."""
        return self._investigations is not None and self._investigations.under_way is not None

    @work
    async def investigate(self, run: RunDir, again: bool = False) -> None:
        """Show a run's investigation; begin it if there is none, or another is wanted.

        While runs train it asks first: both would share the machine and disturb the clock.
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
                training = self.investigations.training(run)
                if training:
                    if await self.push_screen_wait(pause_first(len(training))) != "pause":
                        return
                    for other in training:
                        other.ask("pause")
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
        if self.screen.id == "investigate":  # it stands on a mode's screen, in front of it
            self.pop_screen()
        if self.current_mode != mode:
            self.switch_mode(mode)

    def action_show_mode(self, mode: str) -> None:
        """Show a mode's screen, from a key or a click."""
        self.show(mode)

    def action_demo(self) -> None:
        """Play the article's story: a run that diverges, and the op behind it."""
        from .demo import Demo

        Demo(self).begin()

    def action_pause(self) -> None:
        """Pause all runs, or let them go on when all are paused."""
        if self._live("nothing to pause"):
            self.session.pause_or_resume()  # type: ignore[union-attr]

    def action_stop(self) -> None:
        """Stop all runs safely."""
        if self._live("nothing to stop"):
            self.session.ask("stop")  # type: ignore[union-attr]
            self.notify("Each run ends after its step, with a summary.", title="Stopping")

    @work
    async def action_kill(self) -> None:
        """End the workers at once, after a question."""
        from .screens.questions import KILL

        session = self.session
        if self._live("nothing to kill") and await self.push_screen_wait(KILL()) == "kill":
            session.ask("kill")  # type: ignore[union-attr]

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
            session.ask("stop")
        elif answer == "leave" and session.paused:  # nobody would be there to let it go on
            session.ask("run")
        if answer in ("stop", "leave"):
            paths = "\n".join(str(view.run.path) for view in session.views)
            doing = "Stopping" if answer == "stop" else "Still training"
            self.exit(message=f"{doing}; `mpstui watch` follows:\n{paths}")

    def action_help(self) -> None:
        """Show every key."""
        from .screens.help import HelpScreen

        self.push_screen(HelpScreen(getattr(self.screen, "MODE", self.current_mode)))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: Textual's own commands but the ones of the table by the same meaning."""
        own = {"Quit", "Keys"}
        for command in super().get_system_commands(screen):
            if command.title not in own:
                yield command
        here = getattr(screen, "MODE", self.current_mode)
        for action in ACTIONS:
            if action.where in ("app", here):
                yield SystemCommand(action.help, action.label, self._runner(action.action, screen))

    def _runner(self, action: str, screen: Screen[object]) -> Callable[[], object]:
        return lambda: self.call_later(self.run_action, action, screen)

    def _live(self, otherwise: str) -> bool:
        if self.session is not None and self.session.live:
            return True
        self.notify(f"No run is under way: {otherwise}.", severity="warning")
        return False


def run_app(runs_dir: Path | None, demo: bool = False) -> int:
    """Run the app in this terminal; returns an exit code.

    Args:
        runs_dir: Where runs are kept; None for the usual place.
        demo: Begin with the demo.
    """
    warm = PrewarmedSupervisor()
    app = MpstuiApp(runs_dir=runs_dir, start=partial(launch, warm=warm), warm=warm)
    if demo:
        app.call_later(app.action_demo)
    app.run()
    return app.return_code or 0
