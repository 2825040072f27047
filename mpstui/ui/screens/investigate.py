"""Investigate: the progress of the search for the faulty op, and its finding."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content

from mpstui.domain.errors import LogError
from mpstui.domain.investigation import Investigation, Stage
from mpstui.domain.units import duration
from mpstui.runs.files import read_text
from mpstui.runs.paths import short_path
from mpstui.runs.rundir import RunDir
from mpstui.ui.charts.curves import Curves, figure
from mpstui.ui.keymap import bindings
from mpstui.ui.model.inquiry import Inquiry, StageState
from mpstui.ui.plain import Static
from mpstui.ui.state_app import StateApp
from mpstui.ui.widgets.investigation import full_text, headline, pairs, script, verdict_style
from mpstui.ui.widgets.stages import StageList

from .main_screen import MainScreen
from .questions import pause_first


class InvestigateScreen(MainScreen):
    """The screen of one inquiry, on top of the screen that opened it; leaving stops nothing."""

    MODE = "investigate"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("investigate")]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-high")]
    DEFAULT_CSS = """
    InvestigateScreen {
        #head { height: auto; }
        #verdict, #summary { height: auto; }
        #split { height: 1fr; }
        #left { width: 1fr; height: auto; }
        #left Curves { display: none; }
        #pane { width: 1fr; height: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
        #pane Curves { margin-top: 1; }
        #said, #script { height: auto; }
        #script { display: none; }
        &.-stacked #split { layout: vertical; }
        &.-beside {
            #left { width: 5fr; height: 1fr; }
            #left Curves { display: block; height: 1fr; }
            #pane { width: 7fr; }
            #pane Curves { display: none; }
        }
        &.-script { #script { display: block; } #said, #pane Curves { display: none; } }
    }
    """

    def __init__(self, inquiry: Inquiry) -> None:
        super().__init__()
        self.inquiry = inquiry
        self._rendered: tuple[Investigation | None, int] = (None, 0)
        """The finding, and the width that its lines are wrapped to."""

    @property
    def tab(self) -> str:
        """The mode of the screen below, which escape returns to."""
        return self.state_app.current_mode

    def body(self) -> ComposeResult:
        """Yield the verdict over stages and curves on the left, all details on the right."""
        with Vertical(id="head", classes="pane"):
            yield Static(id="verdict")
            yield Static(id="summary")
        with Horizontal(id="split"):
            with Vertical(id="left"):
                yield StageList()
                yield Curves(classes="pane")
            with VerticalScroll(id="pane", classes="pane"):
                yield Static(id="said")
                yield Curves()
                yield Static(id="script")

    def on_mount(self) -> None:
        """Follow the inquiry."""
        super().on_mount()
        self.watch(self.app, "investigation_revision", self._sync, init=False)
        self.set_interval(1.0, self._sync)  # updates the seconds between progress messages
        self.query_one("#pane").focus()
        self.take(self.inquiry)

    def take(self, inquiry: Inquiry) -> None:
        """Show an inquiry from its start."""
        self.inquiry = inquiry
        self._rendered = (None, 0)
        self.remove_class("-script")
        for pane in self.query("#pane"):  # none before it is composed
            pane.scroll_home(animate=False)
        self._sync()

    def on_resize(self) -> None:
        """Wrap lines again."""
        self.call_after_refresh(self._sync)

    def _sync(self) -> None:
        """Show the inquiry's current state."""
        inquiry, finding = self.inquiry, self.inquiry.finding
        if len(self.query("StageRow Static")) < 3 * len(Stage):  # not composed yet
            return
        low, narrow = self.has_class("-low"), self.has_class("-narrow")
        curves_figure = figure(finding.curves) if finding else None
        self.set_class(curves_figure is not None and not narrow, "-beside")
        self.set_class(curves_figure is None or narrow, "-stacked")
        stages = self.query_one(StageList)
        stages.show(inquiry.lines(self.state.clock()), low)
        stages.set_class(low and narrow and finding is not None, "-one-line")
        width = max(self.query_one("#pane").scrollable_content_region.width, 20)
        if finding is None:
            self.query_one("#verdict", Static).update(self._under_way())
        if self._rendered == (finding, width):
            return
        self._rendered = (finding, width)
        self.refresh_bindings()
        self._title()
        self.query_one("#head").set_classes(
            f"pane {verdict_style(finding)[2]}" if finding else "pane"
        )
        summary = self.query_one("#summary", Static)
        summary.display = finding is not None
        if finding is not None:
            self.query_one("#verdict", Static).update(headline(finding))
            summary.update(Content(finding.summary))
        for curves in self.query(Curves):
            curves.show(finding.curves if finding else (), curves_figure)
        text = (
            self._run_settings(width)
            if finding is None
            else full_text(finding, inquiry.folder, width)
        )
        self.query_one("#said", Static).update(text)
        self.call_after_refresh(self._sync)  # the pane may have another width now

    def _title(self) -> None:
        inquiry = self.inquiry
        mark = ("  SIMULATED FAULT ", "bold $text-warning") if inquiry.simulated else ""
        head = self.query_one("#head")
        head.border_title = Content.assemble(f"Investigation: {inquiry.name}", mark)
        earlier = f" · of {inquiry.folder.path.name}" if inquiry.began is None else ""
        head.border_subtitle = Content(f"{inquiry.run.id}{earlier}")
        finding = "The run" if inquiry.finding is None else "The finding"
        self.query_one("#pane").border_title = "repro.py" if self.has_class("-script") else finding

    def _under_way(self) -> Content:
        inquiry = self.inquiry
        lines = inquiry.lines(self.state.clock())
        stages_done = sum(line.state is StageState.DONE for line in lines)
        seconds = None if inquiry.began is None else self.state.clock() - inquiry.began
        word = "stopping" if inquiry.stopping else "under way"
        return Content.assemble(
            (f"▸ {word}", "bold $text-primary"),
            f"  {stages_done} of {len(lines)} stages done, {duration(seconds)}",
        )

    def _run_settings(self, width: int) -> Content:
        """Return the settings of the run under investigation."""
        config = self.inquiry.config
        rows = [("workload", config.info.title), ("device", config.label)]
        if config.info.is_recorded:
            rows = [("script", str(self.inquiry.run.script())), ("check", "the script runs again")]
        else:
            rows += [
                ("settings", f"batch {config.batch_size:,}, lr {config.lr:g}, seed {config.seed}"),
                ("arithmetic", f"{config.precision}, {config.pipeline} pipeline"),
            ]
        rows.append(("files", short_path(self.inquiry.folder.path)))
        leaving = "esc goes back; the investigation continues, and i shows it again."
        return pairs(rows, width) + Content.styled(f"\n\n{leaving}", "$foreground-muted")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enable stop while the inquiry is under way, and the other actions after it."""
        if action in ("stop", "copy_report", "repro", "again"):
            return self.inquiry.under_way is (action == "stop")
        return super().check_action(action, parameters)

    def action_back(self) -> None:
        """Return to the screen below; the investigation continues."""
        if self.app.screen is self:  # else a second key, before the first has closed it
            self.app.pop_screen()

    def action_copy_report(self) -> None:
        """Copy report.md."""
        path = self.inquiry.folder.report
        try:
            text = read_text(path)
        except LogError as error:
            self.notify(str(error), title="Not copied", severity="error")
            return
        if text is None:
            self.notify("There is no report yet.", severity="warning")
        else:
            self.app.copy_to_clipboard(text)
            self.notify(str(path), title="Copied")

    def action_repro(self) -> None:
        """Show repro.py instead of the finding, or the finding again."""
        script_text = None if self.has_class("-script") else script(self.inquiry.folder.repro)
        if script_text is not None:
            self.query_one("#script", Static).update(script_text)
        elif not self.has_class("-script"):
            finding = self.inquiry.finding
            why = f": {finding.repro_note}" if finding and finding.repro_note else " yet."
            self.notify(f"There is no repro.py{why}", severity="warning")
        self.set_class(script_text is not None, "-script")
        self.query_one("#pane").scroll_home(animate=False)
        self._title()

    def action_stop(self) -> None:
        """Stop the investigation; partial results are kept."""
        self.state_app.investigations.stop()
        self._sync()

    def action_again(self) -> None:
        """Investigate the run again."""
        self.state_app.investigate(self.inquiry.run, again=True)


async def show_investigation(app: StateApp, run: RunDir, again: bool) -> None:
    """Show a run's investigation; start one if there is none, or if ``again`` is True.

    Raises:
        MpstuiError: The run cannot be read, or its folder cannot be written.
    """
    investigations = app.investigations
    inquiry = investigations.under_way
    if inquiry is not None and (again or inquiry.run.id != run.id):
        app.notify(f"{inquiry.name} is under way: one at a time. x stops it.", severity="warning")
    inquiry = inquiry or (None if again else investigations.of(run))
    if inquiry is None:
        training = investigations.runs_in_training(run)
        if training:
            if await app.push_screen_wait(pause_first(len(training))) != "pause":
                return
            for training_run in training:
                training_run.write_request("pause")
        inquiry = investigations.begin(run)
    shown = next((s for s in app.screen_stack if isinstance(s, InvestigateScreen)), None)
    if shown is None:
        app.push_screen(InvestigateScreen(inquiry))
    else:  # also below a dialog
        shown.take(inquiry)
