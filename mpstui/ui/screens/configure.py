"""Configure: the settings of a run, checked as they are typed, and the resulting plan."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantBlur, DescendantFocus
from textual.widgets import Button

from mpstui.domain.error_text import REPORTED
from mpstui.runs.last_settings import load_last, save_last
from mpstui.ui.form.check import OWN, label_of, sentence
from mpstui.ui.form.command import command_line
from mpstui.ui.form.estimate import READING, Estimate, PastRun, estimate
from mpstui.ui.form.help_text import NO_FIELD, help_of
from mpstui.ui.form.past_runs import PastRuns
from mpstui.ui.keymap import bindings
from mpstui.ui.plain import Static
from mpstui.ui.widgets.form import ConfigForm
from mpstui.ui.widgets.form.field_help import FieldHelp
from mpstui.ui.widgets.form.plan_summary import PlanSummary
from mpstui.ui.widgets.form.row import FieldRow

from .main_screen import MainScreen


class ConfigureScreen(MainScreen):
    """The form, the help of the focused field, and the resulting command and estimate."""

    MODE = "configure"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("configure")]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]
    DEFAULT_CSS = """
    ConfigureScreen {
        #split { height: 1fr; layout: vertical; }
        #left { height: auto; max-height: 60%; }
        #form-pane { height: auto; max-height: 100%; }
        #plan-pane { display: none; height: 1fr; min-height: 8; }
        #help-pane { height: 1fr; }
        &.-wide {
            Fold { margin-top: 1; }
            #split { layout: horizontal; }
            #left { width: 2fr; height: 1fr; max-height: 100%; }
            #form-pane { max-height: 75%; }
            #plan-pane { display: block; }
            #help-pane { width: 1fr; padding: 0 2; }
            #problem, #about, FieldFact { margin-bottom: 1; }
        }
        #bar { height: auto; padding: 0 1; }
        #start {
            min-width: 11; margin-right: 2;
            background: $block-cursor-background; color: $block-cursor-foreground;
        }
        #outcome { width: 1fr; height: auto; }
        #verdict { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #command { height: auto; max-height: 2; color: $foreground 75%; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._past_runs: PastRuns | None = None
        self._past: tuple[PastRun, ...] | None = None

    def body(self) -> ComposeResult:
        """Yield form and plan, the help beside or below them, and the button."""
        with Vertical(id="split"):
            with Vertical(id="left"):
                with VerticalScroll(id="form-pane", classes="pane", can_focus=False) as pane:
                    pane.border_title = "Run"
                    yield ConfigForm()
                yield PlanSummary()
            yield FieldHelp()
        with Horizontal(id="bar"):
            yield Button("▶ Start ^r", id="start", variant="primary", compact=True)
            with Vertical(id="outcome"):
                yield Static(id="verdict")
                yield Static(id="command")

    def on_mount(self) -> None:
        """Restore the last config, and follow the facts."""
        super().on_mount()
        self._past_runs = PastRuns(self.state.store)
        form = self.query_one(ConfigForm)
        self.watch(self.app, "facts_revision", lambda: form.know(self.state.facts))
        try:
            last = load_last()
        except REPORTED as error:  # here, so that the handlers of the base classes still run
            self.state_app.report(error)
        else:
            if last is not None:
                form.fill(*last)

    def on_screen_resume(self) -> None:
        """Read past runs again: some may have ended since the screen was last shown."""
        self._read_past()

    @work(thread=True, exclusive=True, group="past runs")
    def _read_past(self) -> None:
        if self._past_runs is not None:
            past = self._past_runs.read()
            if self.is_running:  # the app may be closing
                self.app.call_from_thread(self._take_past, past)

    def _take_past(self, past: tuple[PastRun, ...]) -> None:
        self._past = past
        self.query_one(ConfigForm).recheck()

    def on_config_form_checked(self) -> None:
        """Show the estimate and command, or what is wrong with the form."""
        config, specs, problems, own = self.query_one(ConfigForm).outcome
        self.query_one("#start", Button).disabled = config is None
        self._explain()
        verdict, command = self.query_one("#verdict", Static), self.query_one("#command", Static)
        span = self._estimate()
        self.query_one(PlanSummary).show(config, specs, span)
        if config is None:
            name, problem = next(iter(problems.items()), ("", None))
            wrong = f"✗ {label_of(name)}: {sentence(problem)}" if problem else ""
            verdict.update(Content.styled(wrong, "$text-error"))
            command.update("— no command until every field is right")
            return
        verdict.update(Content(READING if span is None else span.verdict))
        command.update(Content(command_line(config, specs, own)))

    def _estimate(self) -> Estimate | None:
        config, specs, *_ = self.query_one(ConfigForm).outcome
        if config is None or self._past is None or self.state.facts is None:
            return None
        return estimate(config, specs, self.state.facts.machine.name, self._past)

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Show the focused field's help."""
        self._explain()

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        """Clear the help, unless another field gets the focus."""
        self.call_later(self._explain)

    def _explain(self) -> None:
        form, pane = self.query_one(ConfigForm), self.query_one(FieldHelp)
        ancestors = self.focused.ancestors_with_self if self.focused is not None else ()
        row = next((widget for widget in ancestors if isinstance(widget, FieldRow)), None)
        if row is None:
            pane.show(NO_FIELD, None)
            return
        problem = form.outcome.problems.get("workload" if row.entry == OWN else row.entry)
        help = help_of(row.entry, form.workload, self.state.facts, form.outcome.own)
        pane.show(help, sentence(problem) if problem else None)

    def on_button_pressed(self) -> None:
        """Start the run."""
        self.action_start()

    def action_start(self) -> None:
        """Start the run, and save its config."""
        form = self.query_one(ConfigForm)
        form.recheck()  # a file may have changed since
        config, specs, problems, _ = form.outcome
        if config is None:
            self.state_app.report(next(iter(problems.values())))
            return
        self.state_app.start_runs(config, specs)
        save_last(config, specs)

    def action_defaults(self) -> None:
        """Reset the form to the defaults."""
        self.query_one(ConfigForm).set_defaults()

    def action_fold(self) -> None:
        """Show or hide the fields that a first run does not need."""
        self.query_one(ConfigForm).toggle_fold()

    def action_next_field(self) -> None:
        """Go to the next field."""
        self.focus_next()

    def action_cover(self) -> None:
        """Check whether the form's workload runs on MPS."""
        config, _, problems, _ = self.query_one(ConfigForm).outcome
        if config is None:
            self.state_app.report(next(iter(problems.values())))
            return
        self.state_app.show_coverage(config)

    def action_leave_field(self) -> None:
        """Leave the field, so that single keys reach the app again."""
        self.set_focus(None)
